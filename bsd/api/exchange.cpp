#include "bsd/api/exchange.h"

#include <utility>

namespace wdmoe::bsd::api {

Exchange::Exchange(Answer answer, const Hooks& hooks, RequestId first_id, MakeSink make_sink)
    : answer_(std::move(answer)),
      hooks_(hooks),
      first_id_(first_id),
      make_sink_(std::move(make_sink)),
      running_(answer_.call().choices.size(), false) {}

std::optional<ApiError> Exchange::start() {
  submit_waiting();
  return failed_;
}

/// While requests of ours are with the engine, no refusal is a reason to fail: the rest follows as
/// they end.  Nor is a full queue, once a part is answered: see stalled().
void Exchange::submit_waiting() {
  const auto& choices = answer_.call().choices;
  while (submitted_ < choices.size() && in_flight_ < kMostInFlight) {
    Request request = choices[submitted_];
    request.id = first_id_ + submitted_;
    if (const auto taken = hooks_.submit(std::move(request), make_sink_(submitted_)); !taken) {
      const Code code = taken.error().code;
      if ((code == Code::busy || code == Code::unavailable) && in_flight_ > 0) return;
      if (code == Code::busy && submitted_ > 0 && retries_ < kMostRetries) return;
      failed_ = from_engine(taken.error());
      cancel();
      return;
    }
    running_[submitted_++] = true;
    retries_ = 0;
    ++in_flight_;
  }
}

std::string Exchange::accept(std::size_t choice, TokenEvent event) {
  if (finished() || !running_[choice]) return {};
  const bool last = event.finish != FinishReason::none;
  std::string out = answer_.accept(choice, std::move(event));
  if (last) {
    running_[choice] = false;
    --in_flight_;
  }
  if (answer_.error()) {
    cancel();
  } else if (last) {
    submit_waiting();
  }
  return out;
}

void Exchange::retry() {
  if (!stalled()) return;
  ++retries_;
  submit_waiting();
}

void Exchange::cancel() {
  for (std::size_t choice = 0; choice < submitted_; ++choice)
    if (running_[choice]) hooks_.cancel(first_id_ + choice);
  running_.assign(running_.size(), false);
  in_flight_ = 0;
}

}  // namespace wdmoe::bsd::api
