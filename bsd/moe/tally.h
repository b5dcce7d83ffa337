#pragma once
// What selections did to the gate's own choice, counted row by row: for the metrics of a layer and
// for the bill of a request.

#include <vector>

#include "bsd/moe/selection.h"
#include "bsd/request.h"

namespace wdmoe::bsd {

/// One row's decision against the gate's top-k (of equal probabilities the lower expert):
///     kept = sum of P over the chosen / sum of P over the top-k    (kept_gate_mass() of one row)
/// substitutions: chosen experts outside the top-k; drops: places of the top-k left empty.
/// `scratch` keeps its memory between calls.
SelectionTally tally_row(Span<const float> probabilities, std::size_t top_k,
                         Span<const Choice> choices, std::vector<float>& scratch);

/// The tallies of a batch's rows, each summed over the layers.
class RowTallies {
 public:
  void begin(std::size_t rows);  ///< a new batch
  /// Adds one layer's selection for the rows from `first_row` on; their sum in this layer.
  SelectionTally add(std::size_t first_row, const SelectionInput& input,
                     const Selection& selection);
  /// Of `count` rows from `first` on, all layers together.
  SelectionTally sum(std::size_t first, std::size_t count) const;
  std::size_t rows() const { return rows_.size(); }

 private:
  std::vector<SelectionTally> rows_;
  std::vector<float> scratch_;
};

}  // namespace wdmoe::bsd
