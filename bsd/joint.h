#pragma once
// Joint expert selection and bandwidth allocation for one layer: the only place where bsd/moe (who
// does the work) and bsd/radio (what the air carries) meet.  Pure.  The simulator and the
// evaluation use it; the daemon selects with the same policies, and shares no band before it can
// shape one. docs/joint.md has the method and its measurements.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "bsd/blend.h"
#include "bsd/moe/metrics.h"
#include "bsd/moe/selection.h"
#include "bsd/radio/allocate.h"
#include "bsd/radio/latency.h"
#include "bsd/radio/prices.h"
#include "bsd/row_search.h"
#include "common/result.h"

namespace wdmoe::bsd {

/// How the band is split.
enum class Sharing : std::uint8_t {
  equal,  ///< every device the same, used or not: the paper's vanilla
  exact,  ///< the optimum for the loads selected (radio::Allocator)
};

std::string_view name_of(Sharing sharing);
Result<Sharing> sharing_from(std::string_view name);  ///< else not_found listing both

/// The cell as one layer finds it.
struct Cell {
  radio::Medium medium = radio::Medium::fdma_common;
  Hertz bandwidth;
  WattsPerHertz noise;
  Bits bits_per_row;  ///< L_comm, each way
  /// [devices], in the order of the Holders' numbers.  `tokens` is ignored; `compute_per_token` is
  /// one row in one expert, `fixed` a round trip.
  Span<const radio::DeviceDemand> devices;
  /// False: the paper's sum of downlink, compute and uplink.  True: rows overlap (latency.h); the
  /// shares are the better of the sum's optimum and the equal split, the latencies reported are the
  /// pipelined ones.
  bool pipelined = false;
};

/// What was decided, apart from the selection.  The spans live until the next decide().
struct Outcome {
  Seconds waiting_latency{0};             ///< T of the selection under these shares
  double kept_gate_mass = 1;              ///< of the selection
  Span<const radio::DeviceShare> shares;  ///< [devices]; latency as in the paper's sum
  Span<const DeviceLoad> loads;           ///< [devices]
  std::size_t rounds = 0;                 ///< selections tried
  /// [rounds] T of the best pair of selection and shares so far: never rises.
  Span<const Seconds> waiting_after;
};

/// Alternates selection and allocation and keeps the best pair seen, so that the predicted latency
/// never rises from one round to the next.
///
/// The first round selects at an equal split (with `Sharing::equal`, the only one), or, where
/// prices are followed, with nothing lost.  A later one selects at what the present shares make of
/// every device (the paper's t_k) and allocates for the loads selected; a device without load,
/// which has no band, counts as slow as if it were given the least band in which one row is done by
/// T.
///
/// A policy that weighs airtime (minmax) is told instead what the allocator's multipliers say, the
/// price of every row, visit and round trip once the band is shared out anew (radio/prices.h), and
/// that no device can be faster than with the whole band to itself:
///     T ≈ max( Σ_k price of what k does,  max_k floor_k )
/// Rows that all follow the cheapest device make it dear, so a line search decides how far to go
/// from the best selection towards the new one.  Small layers end with a search at true latencies
/// (row_search.h).  The quality held to is the input's, else the policy's, else what the policy
/// keeps at an equal split; the result is never later than the policy is there.
///
/// Ends when a round brings nothing new, at the latest after `max_rounds`.
class JointOptimiser {
 public:
  /// `policy` outlives the optimiser, which is for one thread.
  JointOptimiser(SelectionPolicy& policy, Sharing sharing, std::size_t max_rounds = kRounds);
  JointOptimiser(const JointOptimiser&) = delete;  // search_ calls back into it
  JointOptimiser& operator=(const JointOptimiser&) = delete;

  /// Overwrites `selection`.  Latencies and `previous` of `gates` are not read.  Does not allocate
  /// once it has seen a cell and batches as large, one of few rows (row_search.h) among them.
  /// Errors: bad_input and limit as radio::validate; unavailable if the policy chose a device that
  /// has no link, or nobody holds a chosen expert.
  Result<Outcome> decide(const SelectionInput& gates, const Cell& cell, Selection& selection);

  static constexpr std::size_t kRounds = 8;  ///< docs/joint.md: more gain nothing

 private:
  void set_up(const SelectionInput& gates, const Cell& cell);
  void count_experts(const Holders& holders);
  Result<void> alternate(SelectionInput& input, Outcome& outcome, Selection& selection);
  Result<void> follow_prices(SelectionInput& input, Outcome& outcome, Selection& selection);
  Result<void> refine(SelectionInput& input, Outcome& outcome, Selection& selection);
  Result<void> move_towards_last(double quality, Outcome& outcome, Selection& selection);
  Result<bool> try_out(const Selection& chosen, bool also_equal, Outcome& outcome,
                       Selection& selection);
  void end_round(Outcome& outcome);
  void price_at_shares();
  void price_by_multipliers();
  radio::RowTimes row_times(std::size_t device, Hertz down, Hertz up) const;
  void set_cost(std::size_t device, radio::RowTimes row);
  Latencies latencies() const;
  double judge(Span<const DeviceLoad> loads);
  Result<void> allocate(Span<const DeviceLoad> loads, Sharing sharing);
  Result<void> prefer_equal_shares();
  Seconds waiting() const;

  SelectionPolicy& policy_;
  Sharing sharing_;
  std::size_t max_rounds_;

  const Cell* cell_ = nullptr;
  bool compute_by_row_ = false;  // compute is part of a row's time, not paid by the visit
  std::size_t experts_ = 0;
  SelectionMetrics metrics_;
  radio::Allocator allocator_;
  radio::Allocator equal_split_;  // its results beside those of the first
  radio::Allocation shares_;      // of the selection last tried
  RowSearch search_;
  std::vector<radio::DeviceDemand> demands_;  // of the loads last allocated for
  radio::AllocationProblem problem_;
  std::vector<double> fixed_, per_row_, per_choice_;
  std::vector<double> air_per_row_, air_per_choice_, air_fixed_;
  std::vector<radio::RowPrice> prices_;
  Selection trial_, last_, from_;
  Selection at_equal_;  // the policy's at an equal split
  Blend blend_;
  std::vector<radio::DeviceShare> best_shares_;
  std::vector<DeviceLoad> best_loads_;
  std::vector<Seconds> waiting_after_;
};

}  // namespace wdmoe::bsd
