#include "cli/eval/metered_policy.h"

namespace wdmoe::cli::eval {
namespace {

double mean_kept(const bsd::SelectionTally& tally) {
  return tally.rows == 0 ? 1 : tally.kept / static_cast<double>(tally.rows);
}

}  // namespace

void MeteredPolicy::select(const bsd::SelectionInput& input, bsd::Selection& selection) {
  bsd::SelectionInput own = input;
  if (input.layer < layer_quality_.size()) own.quality = layer_quality_[input.layer];
  if (row_quality_) {
    floors_.assign(input.probabilities.rows, static_cast<float>(*row_quality_));
    own.row_quality = floors_;
  }
  policy_.select(own, selection);
  if (layers_.size() <= input.layer) layers_.resize(input.layer + 1);
  tallies_.begin(input.probabilities.rows);
  layers_[input.layer] += tallies_.add(0, own, selection);
  for (bsd::Choice& choice : selection)
    if (choice.device != bsd::kNobody) choice.device = 0;
}

double MeteredPolicy::kept_gate_mass() const {
  bsd::SelectionTally all;
  for (const bsd::SelectionTally& layer : layers_) all += layer;
  return mean_kept(all);
}

double MeteredPolicy::kept_gate_mass(std::size_t layer) const {
  return layer < layers_.size() ? mean_kept(layers_[layer]) : 1;
}

}  // namespace wdmoe::cli::eval
