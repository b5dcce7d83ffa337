#pragma once
// Two plain ways to save work that are blind to latency; what the others must beat.

#include <cstdint>
#include <vector>

#include "bsd/moe/draft.h"

namespace wdmoe::bsd {

/// `budget`: drops the choices with the lowest share of their row's gate mass, over all rows, as
/// long as the mean kept gate mass stays at or above `quality` (SelectionInput's, where it sets
/// one) and each row above its own floor.  A row keeps at least one expert.
class BudgetRule {
 public:
  explicit BudgetRule(double quality) : quality_(quality) {}
  void apply(const Problem& problem, Draft& draft);

 private:
  struct Loss {
    double share;  // of its row's top-k mass
    std::uint32_t row;
    std::uint16_t rank;
  };
  double quality_;
  std::vector<Loss> losses_;
};

/// `beta`: skips every expert whose weight is less than `beta` times the row's greatest
/// (w2 / w1 < beta, dynamic skipping of arXiv 2402.14800).  Rows' own floors hold.
class BetaRule {
 public:
  explicit BetaRule(double beta) : beta_(beta) {}
  void apply(const Problem& problem, Draft& draft) const;

 private:
  double beta_;
};

}  // namespace wdmoe::bsd
