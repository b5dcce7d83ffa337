#pragma once
// Log probabilities and costs as JSON, in the two shapes of OpenAI's API and in our own.

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "bsd/model/tokenizer.h"
#include "bsd/request.h"

namespace wdmoe::bsd::api {

/// completions: parallel lists.  `offset` is where the first token's text stands.  A prompt's first
/// token
/// (`first_is_null`) has no logprob.  token_logprobs and top_logprobs carry the very same numbers:
/// lm-eval tests them with ==.
nlohmann::json completion_logprobs(const Tokenizer& tokenizer,
                                   const std::vector<TokenLogprob>& tokens, bool first_is_null,
                                   std::uint32_t top, std::size_t offset);
/// chat: {"content": [{token, logprob, bytes, top_logprobs}]}.
nlohmann::json chat_logprobs(const Tokenizer& tokenizer, const std::vector<TokenLogprob>& tokens,
                             std::uint32_t top);
/// The token as text; one that is no whole UTF-8 as OpenAI writes it, "bytes:\\xe2\\x80".
std::string token_text(const Tokenizer& tokenizer, Token token);
/// Characters of UTF-8, in which text_offset counts; of a part, those that begin in it.
std::size_t characters(std::string_view text);

/// {"bs_ms", "wait_ms", "bytes_sent", "bytes_received", "round_trips"} of one pass.
nlohmann::json costs_json(const StepCosts& costs);
/// The same of a whole request, with "stages_ms", "messages" and "rows".
nlohmann::json totals_json(const StepCosts& costs);

}  // namespace wdmoe::bsd::api
