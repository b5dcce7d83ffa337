#include "bsd/engine.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "bsd/moe/catalogue.h"
#include "common/check.h"

namespace wdmoe::bsd {
namespace {

constexpr milliseconds kIdleWait{500};   // at least two signs of life per second
constexpr milliseconds kRetryPause{20};  // an agent that reconnects needs some ten milliseconds

// Logits of one step, in floats: 16 MiB.  Requests that want every position's go in smaller slices.
constexpr std::size_t kMostLogits = std::size_t{1} << 22;
// Logits that one request may collect, in floats: 16 MiB, some hundred as JSON.
constexpr std::size_t kMostCollected = std::size_t{1} << 22;
constexpr std::size_t kMostStops = 17;  // a client's 16 and the one that a chat adds
constexpr std::size_t kMostStopBytes = 1024;
constexpr std::uint32_t kMostTopLogprobs = 1024;

bool is_device_fault(Code code) {
  return code == Code::timeout || code == Code::unavailable;
}

Result<void> check_sampling(const Sampling& s) {
  const auto refuse = [](const char* name, const char* expected) {
    return fail(Code::bad_input, std::string(name) + ": expected " + expected);
  };
  if (!(s.temperature >= 0) || !std::isfinite(s.temperature))
    return refuse("temperature", "a number from 0");
  if (!(s.top_p > 0 && s.top_p <= 1)) return refuse("top_p", "a number in (0, 1]");
  if (!(s.min_p >= 0 && s.min_p <= 1)) return refuse("min_p", "a number in [0, 1]");
  if (!(s.repetition_penalty > 0) || !std::isfinite(s.repetition_penalty))
    return refuse("repetition_penalty", "a number above 0");
  return {};
}

Result<void> check_wish(const PolicyWish& wish) {
  if (wish.policy.value_or(0) >= policies().size())
    return fail(Code::bad_input, "policy: there is none of number " + std::to_string(*wish.policy));
  const double quality = wish.quality.value_or(0);
  if (!(quality >= 0 && quality <= 1))
    return fail(Code::bad_input, "quality: expected a number in [0, 1]");
  return {};
}

Result<void> check_request(const Request& request, std::size_t vocabulary) {
  if (request.prompt.empty()) return fail(Code::bad_input, "prompt: expected at least one token");
  for (const Token token : request.prompt)
    if (token >= vocabulary)
      return fail(Code::bad_input, "prompt: token " + std::to_string(token) +
                                       " is not below the vocabulary's size " +
                                       std::to_string(vocabulary));
  if (request.stop.size() > kMostStops)
    return fail(Code::bad_input, "stop: at most " + std::to_string(kMostStops) + " strings");
  for (const std::string& stop : request.stop)
    if (stop.empty() || stop.size() > kMostStopBytes)
      return fail(Code::bad_input,
                  "stop: expected strings of 1 to " + std::to_string(kMostStopBytes) + " bytes");
  if (request.top_logprobs.value_or(0) > kMostTopLogprobs)
    return fail(Code::bad_input, "logprobs: at most " + std::to_string(kMostTopLogprobs));
  if (request.all_logits && request.prompt.size() > kMostCollected / vocabulary)
    return fail(Code::limit, "logits of every position: at most " +
                                 std::to_string(kMostCollected / vocabulary) + " tokens");
  WDMOE_TRY(check_wish(request.wish));
  return check_sampling(request.sampling);
}

}  // namespace

Engine::Engine(const EngineOptions& options, Decoder& decoder, KvCache& cache,
               const Tokenizer& tokenizer, EngineHost& host, const Clock& clock)
    : options_(options),
      decoder_(decoder),
      cache_(cache),
      tokenizer_(tokenizer),
      host_(host),
      clock_(clock),
      max_context_(options.max_context == 0
                       ? decoder.config().max_positions
                       : std::min(options.max_context, decoder.config().max_positions)),
      inbox_(options.max_waiting + options.max_sequences) {
  WDMOE_CHECK(options.prefill_chunk > 0 && options.max_sequences > 0);
  WDMOE_CHECK(options.max_sequences <= options.max_rows);
  publish();
}

Result<void> Engine::submit(Request request, EventSink sink) {
  WDMOE_TRY(check_request(request, decoder_.config().vocabulary));
  const std::size_t tokens = request.prompt.size() + request.max_tokens;
  if (tokens > max_context_)
    return fail(Code::limit, "prompt of " + std::to_string(request.prompt.size()) +
                                 " tokens and completion of " + std::to_string(request.max_tokens) +
                                 " exceed the context of " + std::to_string(max_context_));
  if (KvCache::pages_for(tokens) > cache_.pages_total())
    return fail(Code::limit, "prompt and completion of " + std::to_string(tokens) +
                                 " tokens exceed the key-value cache of " +
                                 std::to_string(cache_.pages_total() * kPageTokens));
  return inbox_.submit({std::move(request), std::move(sink)});
}

void Engine::stop(Instant deadline) {
  stop_at_.store(deadline.time_since_epoch().count());
  inbox_.close();
}

void Engine::run(const std::function<void()>& alive) {
  while (true) {
    const Turn turned = turn();
    alive();
    if (inbox_.closed()) {
      const Instant stop_at{Instant::duration{stop_at_.load()}};
      if (turned == Turn::idle && running_.empty() && waiting_.empty() && inbox_.drained()) return;
      if (clock_.now() >= stop_at) return fail_all("the base station is stopping");
    }
    const Nanoseconds pause = turned == Turn::stepped  ? Nanoseconds{0}
                              : turned == Turn::failed ? Nanoseconds{kRetryPause}
                                                       : Nanoseconds{kIdleWait};
    host_.wait(pause, inbox_.fd());
  }
}

Engine::Turn Engine::turn() {
  while (std::optional<Submission> taken = inbox_.take_request())
    waiting_.push_back(*std::move(taken));
  take_cancellations();
  admit();
  plan();
  if (batch_.empty()) failing_since_.reset();  // nobody is left who suffered the outage
  const Turn turned = batch_.empty() ? Turn::idle : step();
  publish();
  return turned;
}

void Engine::take_cancellations() {
  for (const RequestId id : inbox_.take_cancelled()) {
    const auto sequence = std::find_if(running_.begin(), running_.end(),
                                       [id](const auto& s) { return s->id() == id; });
    if (sequence != running_.end()) emit(**sequence, (*sequence)->end(FinishReason::cancelled));
    const auto waiting = std::find_if(waiting_.begin(), waiting_.end(),
                                      [id](const auto& s) { return s.request.id == id; });
    if (waiting == waiting_.end()) continue;
    fail_submission(*waiting, FinishReason::cancelled, "");
    waiting_.erase(waiting);
  }
  drop_finished();
}

/// First come, first served.  Pages for the whole prompt and completion are set aside at once:
/// whoever runs can finish, so no sequence ever has to be thrown out again for another's sake.
void Engine::admit() {
  while (!waiting_.empty() && running_.size() < options_.max_sequences) {
    const Request& request = waiting_.front().request;
    std::unique_ptr<KvSequence> cache = cache_.open();
    if (!cache->reserve(request.prompt.size() + request.max_tokens)) return;  // when one ends
    totals_.prompt_tokens += request.prompt.size();
    running_.push_back(std::make_unique<Sequence>(std::move(waiting_.front()), std::move(cache),
                                                  decoder_.config(), tokenizer_));
    waiting_.pop_front();
  }
}

/// The next token of everyone who is past the prompt, and prompt slices in order of admission.
void Engine::plan() {
  planned_.clear();
  batch_.clear();
  const auto decoding = static_cast<std::size_t>(std::count_if(
      running_.begin(), running_.end(), [](const auto& s) { return !s->prefilling(); }));
  std::size_t prompt_budget = std::min(options_.prefill_chunk, options_.max_rows - decoding);
  std::size_t logit_budget = std::max<std::size_t>(kMostLogits / decoder_.config().vocabulary, 1);
  for (const auto& sequence : running_) {
    std::size_t count = 1;
    if (sequence->prefilling()) {
      count = std::min(sequence->pending(), prompt_budget);
      if (sequence->wants_all_logits()) {
        count = std::min(count, logit_budget);
        logit_budget -= count;
      }
      prompt_budget -= count;
    }
    if (count == 0) continue;
    planned_.push_back(sequence.get());
    batch_.push_back(sequence->slice(count));
  }
}

Engine::Turn Engine::step() {
  StepCosts costs;
  const Result<Matrix<const float>> logits = decoder_.step({batch_.data(), batch_.size()}, costs);
  if (!logits) return step_failed(logits.error());
  failing_since_.reset();
  ++totals_.steps;
  deliver(*logits, costs);
  totals_.costs += costs;
  drop_finished();
  return Turn::stepped;
}

/// Samples for every slice, then tells the clients: their events carry the cost of the whole pass.
void Engine::deliver(Matrix<const float> logits, StepCosts& costs) {
  const Instant start = SteadyClock().now();
  std::vector<std::size_t> first_event;
  events_.clear();
  std::size_t row = 0;
  for (std::size_t i = 0; i < planned_.size(); ++i) {
    const std::size_t rows = wanted_rows(batch_[i]);
    first_event.push_back(events_.size());
    planned_[i]->accept(logits.slice_rows(row, rows), events_);
    row += rows;
  }
  first_event.push_back(events_.size());
  const Nanoseconds sampling = SteadyClock().now() - start;
  costs.head += sampling;
  costs.total += sampling;
  std::size_t first_row = 0;
  for (std::size_t i = 0; i < planned_.size(); ++i) {
    const Span<TokenEvent> own(events_.data() + first_event[i],
                               first_event[i + 1] - first_event[i]);
    planned_[i]->charge(costs_of(i, first_row, costs), own);
    first_row += batch_[i].tokens.size();
    for (TokenEvent& event : own) emit(*planned_[i], std::move(event));
  }
}

/// The pass as slice `index` has it on its bill: its own rows' decisions.
StepCosts Engine::costs_of(std::size_t index, std::size_t first_row, const StepCosts& costs) {
  StepCosts own = costs;
  const Slice& slice = batch_[index];
  own.tally = decoder_.selector().tally(first_row, slice.tokens.size());
  own.policy =
      slice.wish.policy ? policies()[*slice.wish.policy].name : decoder_.selector().policy().name();
  return own;
}

/// A device's fault may pass: the same step is tried again until the deadline.  Then, or for any
/// other error at once, the requests of this batch fail; those that wait are not touched.
Engine::Turn Engine::step_failed(const Error& error) {
  ++totals_.failed_steps;
  const Instant now = clock_.now();
  if (!failing_since_) failing_since_ = now;
  if (is_device_fault(error.code) && now - *failing_since_ < options_.retry_deadline)
    return Turn::failed;
  failing_since_.reset();
  for (Sequence* sequence : planned_)
    emit(*sequence, sequence->end(FinishReason::error, error.text));
  drop_finished();
  return Turn::stepped;
}

void Engine::fail_all(const std::string& why) {
  inbox_.close();
  while (std::optional<Submission> taken = inbox_.take_request())
    waiting_.push_back(*std::move(taken));
  for (const auto& sequence : running_) emit(*sequence, sequence->end(FinishReason::error, why));
  for (const Submission& submission : waiting_)
    fail_submission(submission, FinishReason::error, why);
  waiting_.clear();
  drop_finished();
  publish();
}

/// Ends a request that never ran.
void Engine::fail_submission(const Submission& submission, FinishReason reason,
                             const std::string& why) {
  TokenEvent event;
  event.id = submission.request.id;
  event.finish = reason;
  event.error = why;
  event.prompt_tokens = static_cast<std::uint32_t>(submission.request.prompt.size());
  count(reason);
  inbox_.ended(event.id);
  submission.sink(std::move(event));
}

void Engine::emit(Sequence& sequence, TokenEvent event) {
  if (event.token) ++totals_.generated_tokens;
  count(event.finish);
  if (event.finish != FinishReason::none) inbox_.ended(event.id);
  sequence.emit(std::move(event));
}

void Engine::count(FinishReason reason) {
  switch (reason) {
    case FinishReason::none:
      return;
    case FinishReason::stop:
      ++totals_.stopped;
      return;
    case FinishReason::length:
      ++totals_.full;
      return;
    case FinishReason::cancelled:
      ++totals_.cancelled;
      return;
    case FinishReason::error:
      ++totals_.failed;
      return;
  }
}

void Engine::drop_finished() {
  running_.erase(std::remove_if(running_.begin(), running_.end(),
                                [](const auto& sequence) { return sequence->finished(); }),
                 running_.end());
}

void Engine::publish() {
  totals_.running = running_.size();
  totals_.waiting = waiting_.size();
  totals_.kv_pages_total = cache_.pages_total();
  totals_.kv_pages_free = cache_.pages_free();
  stats_.set(totals_);
}

}  // namespace wdmoe::bsd
