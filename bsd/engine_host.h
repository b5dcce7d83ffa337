#pragma once
// What else lives on the engine's thread, and where that thread sleeps.  In the daemon the fleet's
// sockets; in one process nothing.

#include <algorithm>

#include <poll.h>

#include "common/clock.h"

namespace wdmoe::bsd {

class EngineHost {
 public:
  virtual ~EngineHost() = default;
  /// Does what waits to be done (lets agents in and out), then returns after `timeout` or as soon
  /// as `wake_fd` is readable.  Timeout 0, between two steps: without waiting.
  virtual void wait(Nanoseconds timeout, int wake_fd) = 0;
};

/// Nothing else lives here.
class LocalHost final : public EngineHost {
 public:
  void wait(Nanoseconds timeout, int wake_fd) override {
    if (timeout.count() <= 0) return;
    pollfd waited{wake_fd, POLLIN, 0};
    const auto ms = std::chrono::ceil<milliseconds>(timeout).count();
    ::poll(&waited, 1, static_cast<int>(std::min<decltype(ms)>(ms, 60'000)));
  }
};

}  // namespace wdmoe::bsd
