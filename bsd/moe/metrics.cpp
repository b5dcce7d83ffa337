#include "bsd/moe/metrics.h"

#include <algorithm>

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

double SelectionMetrics::kept_gate_mass(const SelectionInput& input, const Selection& selection) {
  ranks_.build(input);
  mass_.assign(ranks_.rows(), 0.0);
  for (const Choice& choice : selection) {
    if (choice.row >= ranks_.rows() || choice.expert >= input.probabilities.cols) continue;
    const float p = input.probabilities.row(choice.row)[choice.expert];
    if (p > 0) mass_[choice.row] += static_cast<double>(std::min(p, 1.0f));
  }
  double total = 0;
  for (std::size_t row = 0; row < ranks_.rows(); ++row) {
    total += ranks_.top_mass(row) > 0 ? mass_[row] / ranks_.top_mass(row) : 1.0;
  }
  return ranks_.rows() ? total / static_cast<double>(ranks_.rows()) : 1.0;
}

}  // namespace wdmoe::bsd
