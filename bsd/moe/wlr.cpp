#include "bsd/moe/wlr.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::bsd {
namespace {

constexpr double kLeastSeconds = 1e-12;  // a device of no latency at all must not divide by zero

double theta_at(std::size_t step) {
  return static_cast<double>(5 + step) / 10;
}

/// w[j,.] of one row: its devices, and its gate weight on each.
struct DeviceWeights {
  std::array<std::uint16_t, kMaxTopK> device;
  std::array<double, kMaxTopK> weight;
  std::size_t count = 0;
};

DeviceWeights weights_of(Picks picks) {
  DeviceWeights w;
  double sum = 0;
  for (const Pick& pick : picks) sum += static_cast<double>(pick.probability);
  for (const Pick& pick : picks) {
    std::size_t place = 0;
    while (place < w.count && w.device[place] != pick.device) ++place;
    if (place == w.count) {
      w.device[place] = pick.device;
      w.weight[place] = 0;
      ++w.count;
    }
    w.weight[place] += sum > 0 ? static_cast<double>(pick.probability) / sum : 0.0;
  }
  return w;
}

}  // namespace

WlrRule::Verdict WlrRule::judge(const Draft& draft, std::size_t row,
                                std::array<double, kSteps>& gain) const {
  const DeviceWeights w = weights_of(draft.row(row));
  if (w.count < 2) return {kSteps, 0};
  double dot = 0, square = 0, ratio = 0;
  std::size_t lowest = 0;
  for (std::size_t k = 0; k < w.count; ++k) {
    const double t = seconds_[w.device[k]];
    dot += w.weight[k] * t;
    square += w.weight[k] * w.weight[k];
    ratio += w.weight[k] / t;
    const bool slower = t > seconds_[w.device[lowest]];
    if (w.weight[k] < w.weight[lowest] || (w.weight[k] == w.weight[lowest] && slower)) lowest = k;
  }
  const double similarity = square > 0 ? dot / (std::sqrt(square) * norm_) : 0.0;
  std::size_t step = 0;
  if (fixed_theta_ >= 0)
    step = similarity > fixed_theta_ ? kSteps : 0;
  else
    while (step < kSteps && similarity > theta_at(step)) ++step;
  if (step < kSteps && w.weight[lowest] < 1) {
    const double without = ratio - w.weight[lowest] / seconds_[w.device[lowest]];
    gain[step] += without / (1 - w.weight[lowest]) - ratio;
  }
  return {static_cast<std::uint16_t>(step), w.device[lowest]};
}

void WlrRule::apply(const Problem& problem, Draft& draft) {
  theta_ = 0;
  if (!problem.loads.priced()) return;
  seconds_.resize(problem.loads.devices());
  double square = 0;
  for (std::size_t device = 0; device < seconds_.size(); ++device) {
    const double t = problem.loads.seconds_of_one(device, *problem.input->holders);
    seconds_[device] = std::max(t, kLeastSeconds);
    square += seconds_[device] * seconds_[device];
  }
  norm_ = std::sqrt(square);

  // Rows act alone, so raising theta by one step changes WLR by the gain of the rows in that step.
  std::array<double, kSteps> gain{};
  verdicts_.resize(draft.rows());
  for (std::size_t row = 0; row < draft.rows(); ++row) verdicts_[row] = judge(draft, row, gain);
  std::size_t last = 0;
  if (fixed_theta_ < 0)
    while (last + 1 < kSteps && gain[last + 1] > 0) ++last;
  theta_ = fixed_theta_ < 0 ? theta_at(last) : fixed_theta_;

  for (std::size_t row = 0; row < draft.rows(); ++row) {
    if (verdicts_[row].step > last) continue;
    for (std::size_t slot = draft.row(row).size(); slot-- > 0;) {
      if (draft.row(row)[slot].device == verdicts_[row].device) draft.remove(row, slot);
    }
  }
}

}  // namespace wdmoe::bsd
