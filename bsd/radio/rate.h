#pragma once
// What one direction of one link can carry, learned from what a kernel says of its connection and
// from the timings of exchanges.  Pure; engine thread.

#include <optional>

#include "bsd/radio/link_state.h"
#include "bsd/radio/recent.h"

namespace wdmoe::radio {

/// Not every transfer shows what a link can carry.  One that was long enough is a measurement; one
/// that was small, whose sender paused, that waited behind others, or that ran into a limit of our
/// own shows only what the link carries at least: it can raise the estimate and never lowers it.
class DirectionEstimate {
 public:
  /// A whole transfer of so many bits took so long, and nothing else of note happened.
  void add_measured(double at_s, double bps);
  void add_at_least(double at_s, double bps);

  /// What the kernel says now; `base_rtt_s`: least round trip known, 0: none.  False: nonsense,
  /// ignored.
  bool add(const TcpSample& sample, double base_rtt_s);

  /// Payload bit/s that an actuator lets pass now; 0: no limit.  Transfers near it may show the
  /// limit or the link; the estimate then keeps a little above them, or it could never find out
  /// that there is more.
  void set_limit(double bps) { limit_bps_ = bps; }

  double rate_bps() const { return rates_.value(); }
  /// The kernel measured within the last second: better than dividing an exchange's time.
  bool kernel_measures(double now_s) const { return now_s - kernel_measured_s_ < 1; }
  DirectionState state() const;

 private:
  void count_retransmissions(const TcpSample& sample, const TcpSample& before);
  std::optional<double> drained_bps(const TcpSample& sample, double base_rtt_s);

  RecentMedian rates_{3};
  bool measured_ = false;
  double updated_s_ = 0, kernel_measured_s_ = -1e9, nudged_s_ = -1e9;
  double limit_bps_ = 0, passing_ = 0;       // the latter: part of it that passes, lately
  std::optional<TcpSample> last_, mark_;     // mark_: where the interval under way began
  double segments_ = 0, retransmitted_ = 0;  // recent, fading
};

}  // namespace wdmoe::radio
