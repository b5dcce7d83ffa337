#pragma once
// The exact answer for small layers (one or two rows being decoded): every selection is looked at,
// except those that cannot be better than the best so far.

#include <cstdint>
#include <vector>

#include "bsd/moe/draft.h"

namespace wdmoe::bsd {

class Exhaustive {
 public:
  /// Most selections that one call may have to look at.  About 10 ns each: 40 us at worst.
  static constexpr double kMostSelections = 4096;

  /// True if the problem is small enough; independent of the quality asked for.
  static bool fits(const Problem& problem);

  /// Least latency among all selections of 1..top_k experts a row, each at any holder, that keep at
  /// least `quality` gate mass on average and every row's floor; of equals the one that keeps most.
  /// False, with `draft` untouched, if there is none.  Uses `loads` as scratch.
  bool run(const Problem& problem, double quality, Draft& draft, Loads& loads);

 private:
  struct Node {
    std::size_t row, rank, count;  // next rank to try in `row`, which has `count` picks
    double kept;                   // sum over finished rows
    double row_kept;
    double latency;
  };
  void extend(const Node& node);
  void try_pick(const Node& node, std::size_t rank, std::uint16_t device);
  void finish_row(const Node& node);

  const Problem* problem_ = nullptr;
  Loads* loads_ = nullptr;
  double least_kept_ = 0, best_latency_ = 0, best_kept_ = 0;
  struct Placed {
    std::uint32_t row;
    Pick pick;
  };
  std::vector<Placed> placed_, best_;
};

}  // namespace wdmoe::bsd
