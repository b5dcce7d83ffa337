#pragma once
// Part of the way from one selection to another, row by row: how a joint decision moves when all of
// the way would overshoot.

#include <vector>

#include "bsd/moe/metrics.h"
#include "bsd/moe/selection.h"

namespace wdmoe::bsd {

class Blend {
 public:
  void reserve(std::size_t rows) {
    from_kept_.reserve(rows);
    to_kept_.reserve(rows);
  }

  /// Two decisions for the rows that `metrics` looks at, ordered by row; all outlive the blend's
  /// use.  `least_kept`: mean kept gate mass that blends hold to; `from` does.
  void between(const SelectionMetrics& metrics, const Selection& from, const Selection& to,
               double least_kept);

  /// Overwrites `out` with `from`, except that `part` (0…1) of the rows that would gain mass by
  /// `to`, and as many of `part` of those that would lose some as the mass allows, follow `to`.
  void write(double part, Selection& out) const;

 private:
  const Selection* from_ = nullptr;
  const Selection* to_ = nullptr;
  double least_ = 0, kept_ = 0;              // sums over the rows
  std::vector<double> from_kept_, to_kept_;  // [rows]
  std::size_t gaining_ = 0, losing_ = 0;     // rows
};

}  // namespace wdmoe::bsd
