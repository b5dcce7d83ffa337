#pragma once
// What api and engine exchange: a Request goes in through a bounded queue, TokenEvents come out.
// Plain values; api never sees the model, the engine never sees HTTP.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wdmoe::bsd {

using Token = std::uint32_t;
using RequestId = std::uint64_t;

struct Sampling {
  float temperature = 1.0f;         ///< 0: greedy
  float top_p = 1.0f;               ///< nucleus mass, (0, 1]
  std::uint32_t top_k = 0;          ///< 0: off
  float min_p = 0.0f;               ///< share of the best token's probability, [0, 1]
  float repetition_penalty = 1.0f;  ///< > 0; 1: off (as transformers defines it)
  std::uint64_t seed = 0;
};

/// How a request wants its experts chosen; what is absent: as the station is set.
struct PolicyWish {
  std::optional<std::uint8_t> policy;  ///< index into policies() of bsd/moe/catalogue.h
  /// Least kept gate mass, mean over the rows of a batch that share the wish, [0, 1].
  std::optional<double> quality;

  bool empty() const { return !policy && !quality; }
  friend bool operator==(const PolicyWish& a, const PolicyWish& b) {
    return a.policy == b.policy && a.quality == b.quality;
  }
};

struct Request {
  RequestId id = 0;
  std::vector<Token> prompt;      ///< at least one token
  std::uint32_t max_tokens = 16;  ///< may be 0: evaluate the prompt only
  Sampling sampling;
  std::vector<std::string> stop;  ///< none empty
  bool echo_logprobs = false;     ///< report the prompt's own logprobs (completions' echo)
  std::optional<std::uint32_t> top_logprobs;  ///< absent: no logprobs; else how many alternatives
  bool ignore_eos = false;
  bool all_logits = false;  ///< deliver the logits of every prompt position (checks)
  bool trace = false;       ///< deliver per-token costs
  PolicyWish wish;
};

struct TokenLogprob {
  Token token = 0;
  float logprob = 0;
  std::vector<std::pair<Token, float>> top;  ///< best first; holds at least `token` itself
};

/// What selection did to the gate's own choice, summed over decisions (a row in a layer).
struct SelectionTally {
  std::uint64_t rows = 0;  ///< decisions
  double kept = 0;         ///< kept gate mass of each, in [0, 1]
  std::uint64_t drops = 0, substitutions = 0;

  SelectionTally& operator+=(const SelectionTally& other);
};

/// What one forward pass (or the sum of several) cost; see docs/performance.md for the terms.
struct StepCosts {
  std::chrono::nanoseconds attention{0};  ///< attention blocks and their norms
  std::chrono::nanoseconds gate{0};
  std::chrono::nanoseconds selection{0};
  std::chrono::nanoseconds serialise{0};  ///< gathering rows into messages and sending
  std::chrono::nanoseconds wire_wait{0};  ///< waiting for devices (in-process: computing experts)
  std::chrono::nanoseconds combine{0};    ///< adding the answers
  std::chrono::nanoseconds head{0};       ///< embedding, last norm, LM head, sampling
  std::chrono::nanoseconds total{0};
  std::uint64_t bytes_sent = 0, bytes_received = 0;  ///< message payloads to and from all agents
  std::uint64_t round_trips = 0;  ///< layers' exchanges that waited for at least one device
  std::uint64_t messages = 0;     ///< Dispatches sent
  std::uint64_t tokens = 0;       ///< rows of the pass, of all sequences
  SelectionTally tally;           ///< of all sequences; in a request's bill: of its own rows
  std::string_view policy;        ///< that chose last; of static storage

  StepCosts& operator+=(const StepCosts& other);
};

enum class FinishReason { none, stop, length, error, cancelled };

/// One generated token (or the end of the request) on its way to the client.
struct TokenEvent {
  RequestId id = 0;
  std::optional<Token> token;  ///< absent on pure end events and for the prompt event
  std::string text;            ///< whole UTF-8 characters that became final with this event
  std::optional<TokenLogprob> logprob;
  std::vector<TokenLogprob> prompt_logprobs;  ///< once, with echo_logprobs; [0] has no logprob
  std::vector<std::vector<float>> logits;     ///< once, with all_logits: [prompt, vocabulary]
  FinishReason finish = FinishReason::none;
  std::string error;                                       ///< one line, with finish == error
  std::uint32_t prompt_tokens = 0, completion_tokens = 0;  ///< so far
  StepCosts costs;                                         ///< of the pass that made this token
  StepCosts totals;  ///< of the whole request, on the last event
};

/// Called on the engine thread; must not block.
using EventSink = std::function<void(TokenEvent)>;

}  // namespace wdmoe::bsd
