#pragma once
// Token events of one call in, OpenAI's JSON out: whole bodies and stream chunks.  Pure: what it
// returns is to be sent, what it does not return is not.

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bsd/api/call.h"
#include "bsd/api/error.h"
#include "bsd/api/logprobs.h"
#include "bsd/model/tokenizer.h"
#include "bsd/request.h"

namespace wdmoe::bsd::api {

/// Who answers; the same in every chunk.
struct AnswerHead {
  std::string id;  ///< "cmpl-…" or "chatcmpl-…"
  std::int64_t created = 0;
  std::string model, fingerprint;
};

class Answer {
 public:
  /// The tokenizer outlives the answer.
  Answer(Call call, AnswerHead head, const Tokenizer& tokenizer);

  const Call& call() const { return call_; }
  /// Stream: what goes out before any event (chat: the role).
  std::string begin();
  /// Takes one event of a choice in.  Stream: the chunks it makes, possibly none.
  std::string accept(std::size_t choice, TokenEvent event);
  bool finished() const { return open_ == 0; }
  /// Set once a choice has failed; the call is over then.
  const std::optional<ApiError>& error() const { return error_; }

  /// Stream, after the last event: usage if asked for, and [DONE].
  std::string end();
  /// Not a stream: the body, once finished.
  std::string body() const;

 private:
  struct Choice {
    std::string text, finish_reason;
    std::vector<TokenLogprob> logprobs;  // not yet written (stream) or all (body)
    std::vector<TokenLogprob> prompt;    // echo: of the prompt
    std::vector<std::vector<float>> logits;
    std::uint32_t prompt_tokens = 0, completion_tokens = 0;
    std::size_t text_offset = 0;  // of the next logprobs entry
    bool echoed = false;
    bool begun = false;  // text has begun (chat drops leading blanks)
    StepCosts totals;
  };

  std::string echo(std::size_t index);
  std::string shown(Choice& choice, const std::string& text) const;
  nlohmann::json chunk(nlohmann::json choices) const;
  std::string text_chunk(std::size_t index, const std::string& text, const StepCosts* costs);
  std::string finish_chunk(std::size_t index);
  nlohmann::json logprobs_of(Choice& choice, const std::string& text) const;
  nlohmann::json whole_choice(std::size_t index) const;
  nlohmann::json usage() const;
  std::string logits_body() const;
  bool is_chat() const { return call_.kind == CallKind::chat; }

  Call call_;
  AnswerHead head_;
  const Tokenizer& tokenizer_;
  std::vector<Choice> choices_;
  std::size_t open_;
  std::optional<ApiError> error_;
};

/// One server-sent event.
std::string sse_event(const std::string& data);

}  // namespace wdmoe::bsd::api
