#pragma once
// Between decoder and policy while a model is evaluated: gives each layer its budget, counts what
// is kept, and sends every choice to this process, whichever device it was meant for.

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "bsd/moe/selection.h"
#include "bsd/moe/tally.h"

namespace wdmoe::cli::eval {

class MeteredPolicy final : public bsd::SelectionPolicy {
 public:
  /// `policy` outlives this.  `layer_quality`: SelectionInput::quality of each layer, or empty;
  /// `row_quality`: SelectionInput::row_quality of every row.
  MeteredPolicy(bsd::SelectionPolicy& policy, std::vector<double> layer_quality,
                std::optional<double> row_quality)
      : policy_(policy), layer_quality_(std::move(layer_quality)), row_quality_(row_quality) {}

  std::string_view name() const override { return policy_.name(); }
  void select(const bsd::SelectionInput& input, bsd::Selection& selection) override;

  double kept_gate_mass() const;                   ///< mean over all rows of all layers; 1 if none
  double kept_gate_mass(std::size_t layer) const;  ///< mean over the layer's rows

 private:
  bsd::SelectionPolicy& policy_;
  std::vector<double> layer_quality_;
  std::optional<double> row_quality_;
  std::vector<float> floors_;                ///< [rows] row_quality_
  bsd::RowTallies tallies_;                  ///< of the selection last made
  std::vector<bsd::SelectionTally> layers_;  ///< [layers] seen so far
};

}  // namespace wdmoe::cli::eval
