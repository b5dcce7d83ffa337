#pragma once
// Step 7 of a token's way: the gate's probabilities in, a decision out, with what belongs to it:
// what requests asked for, what the devices are expected to cost, and who is told.  Engine thread.

#include <array>
#include <cstdint>
#include <vector>

#include "bsd/model/batch.h"
#include "bsd/moe/draft.h"
#include "bsd/moe/expert_runner.h"
#include "bsd/moe/selection.h"
#include "bsd/moe/tally.h"
#include "bsd/moe/witness.h"
#include "common/result.h"
#include "common/tensor.h"

namespace wdmoe::bsd {

class Selector {
 public:
  /// `experts` and `policy` outlive the selector.  `top_k`: experts of a token.
  Selector(ExpertRunner& experts, SelectionPolicy& policy, std::size_t top_k)
      : experts_(experts), policy_(&policy), top_k_(top_k) {}

  void set_policy(SelectionPolicy& policy) { policy_ = &policy; }
  const SelectionPolicy& policy() const { return *policy_; }
  /// Outlives the selector.
  void add_witness(SelectionWitness& witness) { witnesses_.push_back(&witness); }

  /// A new step; its caches have not advanced yet.
  void begin(Span<const Slice> batch);
  /// Chooses for the rows of `part`; `gates` [part.count, experts].  Holds until the next call.
  /// unavailable: an expert that was chosen has no device.
  Result<const Selection*> select(std::size_t layer, RowRange part, Matrix<const float> gates);
  /// The oldest selection that was not yet reported is done: its answers have come.
  void finished();
  /// The step is through all layers: what it did counts.
  void completed();

  /// What happened to `count` rows from `first` on, in all layers of the step so far.
  SelectionTally tally(std::size_t first, std::size_t count) const {
    return tallies_.sum(first, count);
  }

 private:
  struct Expectation {
    std::size_t layer = 0;
    double seconds = 0;
  };

  ExpertRunner& experts_;
  SelectionPolicy* policy_;
  const std::size_t top_k_;
  std::vector<SelectionWitness*> witnesses_;

  std::uint64_t step_ = 0;
  std::vector<RowRun> runs_;
  std::vector<PolicyWish> wishes_;  // [rows] of the batch; empty if nobody has one
  Selection chosen_;
  RowTallies tallies_;
  LatencyPredictor predict_;
  std::array<Expectation, ExpertRunner::kMostUnderWay> expected_;  // a ring
  std::size_t oldest_ = 0, under_way_ = 0;
};

}  // namespace wdmoe::bsd
