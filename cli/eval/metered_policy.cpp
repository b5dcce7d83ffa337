#include "cli/eval/metered_policy.h"

#include "bsd/moe/draft.h"

namespace wdmoe::cli::eval {

void MeteredPolicy::select(const bsd::SelectionInput& input, bsd::Selection& selection) {
  bsd::SelectionInput own = input;
  if (input.layer < layer_quality_.size()) own.quality = layer_quality_[input.layer];
  if (row_quality_) {
    floors_.assign(input.probabilities.rows, static_cast<float>(*row_quality_));
    own.row_quality = floors_;
  }
  policy_.select(own, selection);
  if (kept_.size() <= input.layer) kept_.resize(input.layer + 1);
  const auto rows = static_cast<double>(input.probabilities.rows);
  kept_[input.layer].mass += bsd::kept_gate_mass(own, selection) * rows;
  kept_[input.layer].rows += rows;
  for (bsd::Choice& choice : selection)
    if (choice.device != bsd::kNobody) choice.device = 0;
}

double MeteredPolicy::kept_gate_mass() const {
  double mass = 0, rows = 0;
  for (const Kept& layer : kept_) {
    mass += layer.mass;
    rows += layer.rows;
  }
  return rows > 0 ? mass / rows : 1;
}

double MeteredPolicy::kept_gate_mass(std::size_t layer) const {
  if (layer >= kept_.size() || kept_[layer].rows == 0) return 1;
  return kept_[layer].mass / kept_[layer].rows;
}

}  // namespace wdmoe::cli::eval
