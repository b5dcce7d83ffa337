#pragma once
// How the links of a scenario change with time: the simulator's cell (distance, fading, walks) and
// scripted events, as the properties of flows.  Pure: the caller owns the time.

#include <cstddef>
#include <string>
#include <vector>

#include "bsd/radio/link.h"
#include "sim/airlink/air.h"
#include "sim/airlink/scenario.h"
#include "sim/cell.h"

namespace wdmoe::airlink {

/// Flow numbers: device k has 2k (to it) and 2k + 1 (from it).
constexpr std::size_t down_flow(std::size_t device) {
  return 2 * device;
}
constexpr std::size_t up_flow(std::size_t device) {
  return 2 * device + 1;
}

/// Rate of a flow: rate_of(strength · gain(t)/gain(0), band) · factor of events, with the whole
/// band in the airtime model and an equal part of it otherwise; strength is what the scenario's
/// distance and powers give, or what makes the rate the given one at the start without fading.
class Channel {
 public:
  explicit Channel(const Scenario& scenario);

  /// [2 · devices] as they are now.
  Span<const Flow> flows() const { return flows_; }
  /// When flows change next; kNever if they do not any more.
  Nanoseconds next() const;
  /// Applies what has happened by `now`, step by step: the result depends on the steps due, not on
  /// how often this is called.  Time does not go back.
  void advance(Nanoseconds now);

 private:
  void apply(const Event& event);
  void refresh();

  std::vector<Event> events_;
  std::vector<std::string> names_;
  sim::Cell cell_;
  Hertz band_;
  Nanoseconds step_;
  std::vector<radio::Link> nominal_;  // [flows], at the start, without fading
  std::vector<double> start_gain_;    // [devices], without fading
  std::vector<double> factor_;        // [flows], of events
  std::vector<Flow> flows_;
  Nanoseconds next_step_ = kNever;
  std::size_t next_event_ = 0;
};

}  // namespace wdmoe::airlink
