#pragma once
// The door between whoever asks (HTTP, the tool) and the engine: requests and cancellations in.  It
// counts every request from submit() to ended(), so that it knows when to refuse one, and so that a
// cancellation is never lost and never outgrows it.  Callable from any thread unless it says
// otherwise.

#include <deque>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <vector>

#include "bsd/request.h"
#include "common/event_fd.h"
#include "common/result.h"

namespace wdmoe::bsd {

/// A request and where its events go.
struct Submission {
  Request request;
  EventSink sink;
};

class Inbox {
 public:
  /// `capacity`: most requests that are accepted and not ended, running ones included.
  explicit Inbox(std::size_t capacity) : capacity_(capacity) {}

  /// busy when full; unavailable after close(); bad_input for an id that is in use.
  Result<void> submit(Submission submission);
  /// Takes back a request; nothing happens if it has ended or never was.
  void cancel(RequestId id);
  void close();
  bool closed() const;
  /// Closed, and every request was taken: none will come any more.
  bool drained() const;
  /// Readable while something waits to be taken.
  int fd() const { return ready_.fd(); }

  // Engine thread:
  std::optional<Submission> take_request();
  /// Those of requests that were taken; a request that came meanwhile keeps its cancellation.
  std::vector<RequestId> take_cancelled();
  void ended(RequestId id);

 private:
  void update_ready();  // the lock is held

  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::deque<Submission> requests_;
  std::unordered_set<RequestId> open_;       // submitted, not ended
  std::unordered_set<RequestId> cancelled_;  // subset of open_
  bool closed_ = false;
  bool close_seen_ = true;
  EventFd ready_;
};

}  // namespace wdmoe::bsd
