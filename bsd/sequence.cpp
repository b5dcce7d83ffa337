#include "bsd/sequence.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/check.h"

namespace wdmoe::bsd {

Sequence::Sequence(Submission submission, std::unique_ptr<KvSequence> cache,
                   const ModelConfig& config, const Tokenizer& tokenizer)
    : request_(std::move(submission.request)),
      sink_(std::move(submission.sink)),
      cache_(std::move(cache)),
      config_(config),
      sampler_(request_.sampling),
      decoder_(tokenizer),
      stop_(request_.stop),
      tokens_(request_.prompt) {
  tokens_.reserve(request_.prompt.size() + request_.max_tokens);
  if (!request_.echo_logprobs) return;
  TokenLogprob first;  // nothing precedes the first token, so it has no probability
  first.token = request_.prompt.front();
  prompt_logprobs_.push_back(std::move(first));
}

Slice Sequence::slice(std::size_t count) {
  WDMOE_CHECK(count >= 1 && count <= pending());
  first_fed_ = cache_->length();
  const bool last = count == pending();
  Slice slice;
  slice.cache = cache_.get();
  slice.sequence = request_.id;
  slice.wish = request_.wish;
  slice.tokens = {tokens_.data() + first_fed_, count};
  if (prefilling() && wants_all_logits())
    slice.logits = Slice::Logits::all;
  else if (last && request_.max_tokens > 0)
    slice.logits = Slice::Logits::last;
  else
    slice.logits = Slice::Logits::none;
  return slice;
}

void Sequence::accept(Matrix<const float> logits, std::vector<TokenEvent>& events) {
  if (!prompt_reported_) {
    collect_prompt(logits);
    if (prefilling()) return;
    prompt_reported_ = true;
    finished_ = request_.max_tokens == 0;
    if (wants_all_logits() || finished_) {
      TokenEvent prompt = event();
      prompt.prompt_logprobs = std::move(prompt_logprobs_);
      prompt.logits = std::move(prompt_logits_);
      if (finished_) prompt.finish = FinishReason::length;
      events.push_back(std::move(prompt));
    }
    if (finished_) return;
  }
  const float* last = logits.row(logits.rows - 1);
  if (std::isnan(last[0])) {  // one NaN in a token's row spreads to all its logits
    events.push_back(end(FinishReason::error, "the model's logits are not numbers"));
    return;
  }
  events.push_back(next_token({last, logits.cols}));
}

void Sequence::collect_prompt(Matrix<const float> logits) {
  for (std::size_t row = 0; row < logits.rows && wants_all_logits(); ++row) {
    const Span<const float> values(logits.row(row), logits.cols);
    if (request_.all_logits) prompt_logits_.emplace_back(values.begin(), values.end());
    const std::size_t follower = first_fed_ + row + 1;
    if (request_.echo_logprobs && follower < request_.prompt.size())
      prompt_logprobs_.push_back(
          logprob_of(values, tokens_[follower], request_.top_logprobs.value_or(0)));
  }
}

TokenEvent Sequence::next_token(Span<const float> logits) {
  const Token token = sampler_.sample(logits, {tokens_.data(), tokens_.size()});
  tokens_.push_back(token);
  TokenEvent made = event();
  made.token = token;
  if (request_.top_logprobs) made.logprob = logprob_of(logits, token, *request_.top_logprobs);

  const bool ends = is_end_token(token) && !request_.ignore_eos;
  const bool full = generated() == request_.max_tokens;
  if (!ends) stop_.push(decoder_.push(token), made.text);
  // A stop string in byte tokens counts as soon as it is text, not when their run ends.
  const bool stops = stop_.would_match(decoder_.held_text());
  if ((ends || full || stops) && !stop_.matched()) {
    stop_.push(decoder_.finish(), made.text);
    stop_.finish(made.text);
  }
  if (ends || stop_.matched())
    made.finish = FinishReason::stop;
  else if (full)
    made.finish = FinishReason::length;
  finished_ = made.finish != FinishReason::none;
  return made;
}

void Sequence::charge(const StepCosts& costs, Span<TokenEvent> events) {
  costs_ += costs;
  for (TokenEvent& event : events) {
    if (event.finish != FinishReason::none) event.totals = costs_;
    if (event.token)  // not the prompt event, which shares its pass with the first token
      event.costs = costs;
  }
}

TokenEvent Sequence::end(FinishReason reason, std::string error) {
  finished_ = true;
  TokenEvent last = event();
  last.finish = reason;
  last.error = std::move(error);
  last.totals = costs_;
  return last;
}

TokenEvent Sequence::event() const {
  TokenEvent event;
  event.id = request_.id;
  event.prompt_tokens = static_cast<std::uint32_t>(request_.prompt.size());
  event.completion_tokens = static_cast<std::uint32_t>(generated());
  return event;
}

bool Sequence::is_end_token(Token token) const {
  return std::find(config_.eos_tokens.begin(), config_.eos_tokens.end(), token) !=
         config_.eos_tokens.end();
}

}  // namespace wdmoe::bsd
