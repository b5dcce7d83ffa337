#pragma once
// What each device's next exchange is likely to cost, and what its link can carry, learned from
// those before.  Pure: time comes in with the samples.  Not for two threads at once.

#include <cstddef>
#include <vector>

#include "bsd/radio/link_state.h"
#include "bsd/radio/rate.h"
#include "bsd/radio/recent.h"
#include "common/span.h"

namespace wdmoe::radio {

/// Learns one device.  The last kWindow samples count, and of those only the ones younger than
/// kForget (but always the newest).
///
/// The fixed part of the link is the recent median of (round trip - queue - compute) over the
/// exchanges with the fewest rows.  The part per row comes only from exchanges of many more rows,
/// held against a low quantile of those (what the air takes when nothing stands in the way): small
/// ones are bounded by the round trip and say nothing of the rate at which large ones travel.
/// Until such have been seen, the part per row is 0, and predictions hold for exchanges of the size
/// seen.  RecentMedian follows a step of the link after five exchanges, of its rate after three
/// measurements.
///
/// A direction's rate comes from the kernel's samples where they measure it.  Otherwise the time of
/// a large exchange beyond a small one's is divided between the directions in proportion to bytes
/// over rate; that tells their sum well and each of them only if they change together.
class DeviceEstimate {
 public:
  static constexpr std::size_t kWindow = 64;
  static constexpr double kForget = 30;      ///< s: longer than a fade, shorter than a walk
  static constexpr double kNews = 1.0 / 16;  ///< weight of the newest exchange in the load

  void add(const ExchangeSample& sample);  ///< nonsense (no rows, not finite, negative) is ignored
  void add(Direction direction, const TcpSample& sample);
  void note(const StationSample& sample) { state_.station = sample; }
  void note(const BacklogSample& sample) { state_.backlog_bytes = sample.bytes; }
  /// What an actuator lets pass now; see DirectionEstimate.
  void set_limit(Direction direction, double bps) { of(direction).set_limit(bps); }

  bool known() const { return state_.known; }
  RowCost link() const { return state_.link; }
  RowCost compute() const { return state_.compute; }
  double queue_s() const { return state_.agent_queue_s; }
  /// Link, queue and compute together, as Latencies has them.
  RowCost total() const {
    return {link().fixed_s + compute().fixed_s + queue_s(), link().per_row_s + compute().per_row_s};
  }
  /// Rows that one more exchange of a layer asks of this device, 0 included.
  void count_load(double rows) { state_.rows += (rows - state_.rows) * kNews; }
  LinkState state() const;

 private:
  DirectionEstimate& of(Direction direction) { return direction == Direction::down ? down_ : up_; }
  /// Both directions of an exchange took `seconds` for so many bytes.
  struct Transfer {
    double at_s, seconds, bytes_down, bytes_up;
  };
  bool is_large(const ExchangeSample& sample) const;
  void learn(double now_s);
  void learn_compute();
  void learn_anchor();
  void learn_link(const ExchangeSample& sample);
  void settle_link();
  void divide(const Transfer& transfer);

  std::vector<ExchangeSample> samples_;  // a ring
  std::size_t next_ = 0, unlearned_ = 0;
  /// Of the exchanges with the fewest rows: what larger ones are held against.
  struct Anchor {
    std::size_t fewest = 0;               // rows
    double rows = 0, seconds = 0;         // mean; low quantile of the link's time
    double bytes_down = 0, bytes_up = 0;  // mean
    double spread_s = 0;                  // between quartiles of the link's time
  } anchor_;
  RecentMedian per_row_{5}, small_{5};  // of large exchanges; link seconds of small ones
  DirectionEstimate down_, up_;
  WindowedMin base_rtt_;  // of the kernel
  double kernel_queueing_s_ = 0, kernel_heard_s_ = -1e9, queueing_s_ = 0;
  LinkState state_;
  std::vector<const ExchangeSample*> recent_;  // scratch
  std::vector<double> values_, queues_;        // scratch
};

/// All devices, by the roster's index.
class Estimates {
 public:
  /// The device's, made if need be.  A reference until the next call.
  DeviceEstimate& of(std::size_t device);
  void add(std::size_t device, const ExchangeSample& sample) { of(device).add(sample); }

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
