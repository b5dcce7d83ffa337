#pragma once
// What each device's next exchange is likely to cost, learned from those before: a fixed part and a
// part per row, each for the link and for the agent's compute.  Pure: time comes in with the
// samples.  Engine thread.

#include <cstddef>
#include <vector>

#include "bsd/radio/link_state.h"
#include "common/span.h"

namespace wdmoe::radio {

/// Learns one device.  The last kWindow samples count, and of those only the ones younger than
/// kForget (but always the newest).
///
/// The fixed part of the link is a low quantile of (round trip - queue - compute) over the
/// exchanges with the fewest rows: what the air takes when nothing stands in the way.  The part per
/// row comes only from exchanges of many more rows than those: small ones are bounded by the round
/// trip and say nothing of the rate at which large ones travel.  Until such have been seen, the
/// part per row is 0, and predictions hold for exchanges of the size seen.
class DeviceEstimate {
 public:
  static constexpr std::size_t kWindow = 64;
  static constexpr double kForget = 30;  ///< s: longer than a fade, shorter than a walk

  void add(const ExchangeSample& sample);  ///< nonsense (no rows, not finite, negative) is ignored
  bool known() const { return !samples_.empty(); }
  RowCost link() const { return link_; }
  RowCost compute() const { return compute_; }
  double queue_s() const { return queue_s_; }  ///< median
  /// Link, queue and compute together, as Latencies has them.
  RowCost total() const {
    return {link_.fixed_s + compute_.fixed_s + queue_s_, link_.per_row_s + compute_.per_row_s};
  }

 private:
  void learn(double now_s);

  std::vector<ExchangeSample> samples_;  // a ring
  std::size_t next_ = 0, unlearned_ = 0;
  RowCost link_, compute_;
  double queue_s_ = 0;
  std::vector<const ExchangeSample*> recent_;  // scratch
  std::vector<double> values_;                 // scratch
};

/// All devices, by the roster's index.
class Estimates {
 public:
  void add(std::size_t device, const ExchangeSample& sample);

  /// [devices] each, as selection takes them; a device nobody has heard of costs what the median
  /// device costs.  Empty while nobody is known.  Valid until the next call.
  struct View {
    Span<const double> fixed_s, per_row_s;
  };
  View view(std::size_t devices);
  const std::vector<DeviceEstimate>& devices() const { return devices_; }

 private:
  std::vector<DeviceEstimate> devices_;
  std::vector<double> fixed_, per_row_, known_;
};

}  // namespace wdmoe::radio
