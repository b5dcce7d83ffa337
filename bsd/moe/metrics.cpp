#include "bsd/moe/metrics.h"

#include <algorithm>
#include <numeric>

namespace wdmoe::bsd {

Span<const DeviceLoad> SelectionMetrics::count_loads(const Selection& selection,
                                                     std::size_t devices) {
  loads_.assign(devices, {});
  std::size_t first = 0;  // of the row's choices
  for (std::size_t index = 0; index < selection.size(); ++index) {
    const Choice& choice = selection[index];
    if (choice.device >= devices) return {};
    if (selection[first].row != choice.row) first = index;
    bool has_row = false;
    for (std::size_t other = first; other < index; ++other) {
      has_row = has_row || selection[other].device == choice.device;
    }
    loads_[choice.device].rows += has_row ? 0 : 1;
    ++loads_[choice.device].visits;
  }
  return loads_;
}

void SelectionMetrics::look_at(const SelectionInput& input) {
  probabilities_ = input.probabilities;
  ranks_.build(input);
}

void SelectionMetrics::kept_by_row(const Selection& selection, std::vector<double>& kept) const {
  kept.assign(ranks_.rows(), 0.0);
  for (const Choice& choice : selection) {
    if (choice.row >= ranks_.rows() || choice.expert >= probabilities_.cols) continue;
    const float p = probabilities_.row(choice.row)[choice.expert];
    if (p > 0) kept[choice.row] += static_cast<double>(std::min(p, 1.0f));
  }
  for (std::size_t row = 0; row < ranks_.rows(); ++row) {
    const double top = ranks_.top_mass(row);
    kept[row] = top > 0 ? kept[row] / top : 1.0;
  }
}

double SelectionMetrics::kept_gate_mass(const Selection& selection) {
  kept_by_row(selection, kept_);
  if (kept_.empty()) return 1;
  return std::accumulate(kept_.begin(), kept_.end(), 0.0) / static_cast<double>(kept_.size());
}

}  // namespace wdmoe::bsd
