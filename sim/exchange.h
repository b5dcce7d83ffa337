#pragma once
// One layer's exchange, played out row by row: when is the last answer back at the base station?
// What the closed forms of bsd/radio predict, this lets happen.

#include <cstdint>
#include <vector>

#include "bsd/joint.h"
#include "bsd/moe/selection.h"
#include "bsd/radio/allocate.h"

namespace wdmoe::sim {

/// Rows go to each device in order, are computed there one after the other (each of a row's experts
/// takes compute_per_token) and come back one after the other; the three stages overlap.
///
/// In FDMA every link has its own band.  In the airtime model one row at a time is on the air, at
/// the rate of the whole band; whose turn it is follows from the shares by stride scheduling: of
/// the directions with a row ready, the one that has had the least airtime per share.  Turns of
/// those with nothing to send pass to the others.
class ExchangePlayer {
 public:
  /// Time from the start of the exchange to the last answer, round trip included.  `shares`
  /// [devices]; a device that `selection` loads has shares > 0.  Infinite if a link carries
  /// nothing.
  Seconds play(const bsd::Cell& cell, Span<const radio::DeviceShare> shares,
               const bsd::Selection& selection);

 private:
  struct Flow {  // one direction of one device
    std::size_t device;
    bool up;
    double airtime, share;
    std::size_t next = 0;  // row to send
    double pass = 0;       // airtime had, per share
  };

  void load_rows(std::size_t devices, const bsd::Selection& selection);
  double play_own_band(const radio::AllocationProblem& problem, std::size_t device,
                       const radio::DeviceShare& share);
  double play_turns(const radio::AllocationProblem& problem, Span<const radio::DeviceShare> shares);
  double ready_at(const Flow& flow) const;

  std::vector<std::vector<std::uint16_t>> visits_;  // [devices][rows there] experts of the row
  std::vector<std::vector<double>> computed_;       // [devices][rows downloaded] when computed
  std::vector<Flow> flows_;
};

}  // namespace wdmoe::sim
