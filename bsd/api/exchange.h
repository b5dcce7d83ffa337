#pragma once
// One call on its way through the engine: hands in its requests, as many as the engine takes at
// once, and gathers their events into the answer.  Knows no socket.  io thread.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bsd/api/answer.h"
#include "bsd/api/hooks.h"

namespace wdmoe::bsd::api {

class Exchange {
 public:
  /// Makes the sink for a choice's events; they have to come back to accept() on the io thread.
  using MakeSink = std::function<EventSink(std::size_t choice)>;

  /// Uses request ids from `first_id` on, one for each choice.  Hooks outlive the exchange.
  Exchange(Answer answer, const Hooks& hooks, RequestId first_id, MakeSink make_sink);

  /// Most requests of one call that are with the engine at once, so that a long list of prompts
  /// leaves places in the queue to others.
  static constexpr std::size_t kMostInFlight = 16;
  /// A call that others keep out of the queue asks so often in a row; then it fails as busy.
  static constexpr std::size_t kMostRetries = 300;

  /// Hands in the first requests; the engine's refusal if it takes none.
  std::optional<ApiError> start();
  /// Takes an event in, hands in what waits, and returns what is to be streamed now.
  std::string accept(std::size_t choice, TokenEvent event);
  /// Begun, but nothing of it is with the engine, whose queue was full: no event will come, so call
  /// retry() after a pause.
  bool stalled() const { return !finished() && in_flight_ == 0; }
  /// Hands in what waits; the failure is in error().
  void retry();
  /// Takes back all that runs.  Events that still come are ignored.
  void cancel();

  bool finished() const { return failed_ || answer_.finished(); }
  /// Why it failed, if it did.
  const std::optional<ApiError>& error() const { return failed_ ? failed_ : answer_.error(); }
  const Call& call() const { return answer_.call(); }
  Answer& answer() { return answer_; }

 private:
  void submit_waiting();

  Answer answer_;
  const Hooks& hooks_;
  const RequestId first_id_;
  MakeSink make_sink_;
  std::size_t submitted_ = 0;  // choices below are or were with the engine
  std::vector<bool> running_;  // by choice
  std::size_t in_flight_ = 0;
  std::size_t retries_ = 0;  // in a row
  std::optional<ApiError> failed_;
};

}  // namespace wdmoe::bsd::api
