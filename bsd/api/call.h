#pragma once
// The body of a completion request, understood: OpenAI's JSON in, engine requests out.  Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/api/error.h"
#include "bsd/api/hooks.h"
#include "bsd/model/tokenizer.h"
#include "bsd/request.h"

namespace wdmoe::bsd::api {

// lm-eval sends whole batches as lists of prompts; each prompt is one engine request.
constexpr std::size_t kMaxChoices = 128;
constexpr std::size_t kMaxStops = 16;
constexpr std::size_t kMaxStopBytes = 1024;
constexpr std::uint32_t kMaxTopLogprobs = 20;
// A text with more bytes than this for each token of the context is refused before it is tokenized,
// which would keep the io thread from everyone else.  Prose has some four bytes a token; where a
// text of long runs would fit all the same, its token ids can be sent.
constexpr std::size_t kMaxTextBytesPerToken = 64;
// A chat without max_tokens; the cache is reserved for what a request may need.
constexpr std::uint32_t kDefaultChatTokens = 1024;
// Deeper JSON than any API client sends; nesting costs memory.
constexpr std::size_t kMaxJsonDepth = 32;

enum class CallKind { completion, chat, logits };

/// One HTTP call: `choices[i]` is answered as choice i.  Request ids are not set here.
struct Call {
  CallKind kind = CallKind::completion;
  std::vector<Request> choices;
  std::size_t per_prompt = 1;  ///< n: neighbouring choices that share a prompt
  bool stream = false;
  bool include_usage = false;
  bool echo = false;
  bool logprobs = false;
  std::uint32_t top_logprobs = 0;
  bool trace = false;
};

/// What parsing needs to know besides the body.
struct CallContext {
  const Tokenizer& tokenizer;
  const ModelInfo& model;
  const ChatFormat& chat;
  std::uint64_t fresh_seed;  ///< where the client gives none
};

ApiResult<Call> parse_completion(std::string_view body, const CallContext& context);
ApiResult<Call> parse_chat(std::string_view body, const CallContext& context);
/// {"tokens": [...]}: the logits of every position.
ApiResult<Call> parse_logits(std::string_view body, const CallContext& context);

}  // namespace wdmoe::bsd::api
