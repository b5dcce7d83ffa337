#pragma once
// Monotonic time.  Code that measures or waits takes a Clock so that tests can own the time.

#include <chrono>

namespace wdmoe {

using Instant = std::chrono::steady_clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;
using std::chrono::microseconds;
using std::chrono::milliseconds;

/// A duration as a plain number of seconds.
inline double in_seconds(Nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  Instant now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace wdmoe
