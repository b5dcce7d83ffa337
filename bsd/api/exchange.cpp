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

/// A full queue is no reason to fail while requests of ours are in it: the rest follows as they
/// end.
void Exchange::submit_waiting() {
  const auto& choices = answer_.call().choices;
  while (submitted_ < choices.size()) {
    Request request = choices[submitted_];
    request.id = first_id_ + submitted_;
    if (const auto taken = hooks_.submit(std::move(request), make_sink_(submitted_)); !taken) {
      if (taken.error().code == Code::busy && in_flight_ > 0) return;
      failed_ = from_engine(taken.error());
      cancel();
      return;
    }
    running_[submitted_++] = true;
    ++in_flight_;
  }
}

std::string Exchange::accept(std::size_t choice, const TokenEvent& event) {
  if (finished() || !running_[choice]) return {};
  std::string out = answer_.accept(choice, event);
  if (event.finish != FinishReason::none) {
    running_[choice] = false;
    --in_flight_;
  }
  if (answer_.error()) {
    cancel();
  } else if (event.finish != FinishReason::none) {
    submit_waiting();
  }
  return out;
}

void Exchange::cancel() {
  for (std::size_t choice = 0; choice < submitted_; ++choice)
    if (running_[choice]) hooks_.cancel(first_id_ + choice);
  running_.assign(running_.size(), false);
  in_flight_ = 0;
}

}  // namespace wdmoe::bsd::api
