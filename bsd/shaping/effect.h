#pragma once
// An acknowledged command is not an effect: compares what an actuator was told with what it reads
// back and with the traffic that should have passed.  Pure.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "bsd/shaping/actuator.h"
#include "common/span.h"

namespace wdmoe::shaping {

/// Payload of one agent so far, as the fleet counts it.
struct Traffic {
  std::size_t slot = 0;
  std::uint64_t sent_bytes = 0, received_bytes = 0;
};

/// Judges one actuator.
class EffectCheck {
 public:
  static constexpr double kWindow = 1;  ///< s, least, over which traffic is compared …
  static constexpr std::uint64_t kEnough = 32'768;  ///< … and bytes: fewer prove nothing
  static constexpr double kTolerance = 0.05;        ///< of a rate read back

  /// `plan` is in force, `observed` was read back after it.  Degraded when a slot is missing, a
  /// rate is not what was commanded (neither share nor ceiling), or traffic passed the agent's
  /// connection but less than half of it passed what was set.
  Health judge(double now_s, const Plan& plan, Span<const Observed> observed,
               Span<const Traffic> traffic);
  void forget();

 private:
  struct Mark {
    double at_s = 0;
    std::uint64_t passed_down = 0, passed_up = 0, sent = 0, received = 0;
    bool bypassed = false;  // in the last whole window
  };
  bool bypassed(double now_s, const Observed& observed, const Traffic& traffic);

  std::unordered_map<std::size_t, Mark> marks_;
};

}  // namespace wdmoe::shaping
