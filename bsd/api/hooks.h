#pragma once
// What the HTTP API needs from the rest of the base station: a few functions, so that it knows
// neither engine nor fleet.  All are called on the io thread and must not block.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/request.h"
#include "common/result.h"

namespace wdmoe::bsd::api {

struct Health {
  bool ready = false;
  std::vector<std::string>
      missing;  ///< one line for each thing that is not there, "layer 3 expert 1"
};

/// How experts are chosen: GET and PUT /wdmoe/v1/policy.  What is absent: the policy's own default.
struct PolicyState {
  std::string policy;
  std::optional<double> quality, beta;
  bool layer_budgets = false;  ///< where no quality is set, each layer has its own; not settable
};

/// A recording of gate probabilities and selections: GET, PUT and DELETE /wdmoe/v1/trace.
struct TraceState {
  bool recording = false;
  std::string name, path;  ///< of the last recording; empty: none yet
  std::uint64_t tokens = 0, records = 0, bytes = 0;
  std::string error;  ///< why it ended early; one line
};

struct TraceWish {
  std::string name;                     ///< a bare file name
  std::optional<std::uint32_t> tokens;  ///< when it ends by itself
  std::optional<std::uint32_t> seconds;
};

struct Hooks {
  /// Whether whoever shows this API key may ask; empty: everybody may, with or without one.
  std::function<bool(std::string_view key)> authorised;
  /// Hands a request to the engine; its id is unique.  The sink may be called on any thread and its
  /// last event has a finish.  busy -> 429, unavailable -> 503, limit and bad_input -> 400.
  std::function<Result<void>(Request, EventSink)> submit;
  std::function<void(RequestId)> cancel;  ///< the client went away; unknown ids are ignored
  std::function<Health()> health;
  std::function<std::string()> metrics;            ///< Prometheus text
  std::function<std::string()> agents;             ///< JSON of GET /wdmoe/v1/agents
  std::function<std::string()> status;             ///< JSON of GET /wdmoe/v1/status
  std::function<std::string()> radio;              ///< JSON of GET /wdmoe/v1/radio
  std::function<Result<void>(bool)> freeze_radio;  ///< unavailable: it is not controlled -> 409
  std::function<PolicyState()> policy;
  std::function<Result<void>(const PolicyState&)> set_policy;  ///< from the next layer on
  std::function<TraceState()> trace;
  /// denied -> 403, bad_input -> 400, busy -> 409
  std::function<Result<TraceState>(const TraceWish&)> start_trace;
  std::function<Result<TraceState>()> stop_trace;  ///< not_found: nothing runs -> 409
  /// system_fingerprint of an answer that begins now: build, policy and model.
  std::function<std::string(const PolicyWish&)> fingerprint;

  // Counters; may be empty.
  std::function<void(unsigned status)> count_request;  ///< completions API only; 499: client gone
  std::function<void(double seconds)> observe_first_token;
  std::function<void(double seconds)> observe_inter_token;
};

struct PolicyName {
  std::string name, help;
};

struct ModelInfo {
  std::string name;             ///< as clients see it
  std::size_t max_context = 0;  ///< prompt and completion, in tokens
  std::size_t layers = 0, experts = 0, hidden = 0, vocabulary = 0;  ///< shape, for GET /v1/models
  std::int64_t created = 0;                                         ///< seconds since 1970
  std::string bos_token, eos_token;  ///< for GET /tokenizer_info; may be empty
  std::vector<PolicyName> policies;  ///< PolicyWish::policy counts within
};

/// How chat messages become one prompt: prefix, content, separator for each, then the assistant's
/// prefix without its trailing blanks; an answer's leading blanks are dropped in return.
struct ChatFormat {
  std::string system_prefix, user_prefix = "User: ", assistant_prefix = "Assistant: ";
  std::string separator = "\n";
};

}  // namespace wdmoe::bsd::api
