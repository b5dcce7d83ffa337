#include "bsd/moe/history.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::bsd {
namespace {

/// What the row's gate weights on `device` sum to after renormalisation.
double weight_on(Picks picks, std::size_t device) {
  double all = 0, here = 0;
  for (const Pick& pick : picks) {
    all += static_cast<double>(pick.probability);
    if (pick.device == device) here += static_cast<double>(pick.probability);
  }
  return all > 0 ? here / all : 0;
}

void leave(Draft& draft, std::size_t row, std::size_t device, Loads& loads) {
  for (std::size_t slot = draft.row(row).size(); slot-- > 0;) {
    const Pick pick = draft.row(row)[slot];
    if (pick.device != device) continue;
    draft.remove(row, slot);
    loads.remove(device, pick.expert, draft.visits(row, device));
  }
}

}  // namespace

void LatencyHistory::observe(std::size_t rows, double seconds) {
  if (rows == 0 || !std::isfinite(seconds) || seconds < 0) return;
  per_row_[count_++ % kWindow] = seconds / static_cast<double>(rows);
}

double LatencyHistory::per_row_s() const {
  const std::size_t known = std::min(count_, kWindow);
  double sum = 0;
  for (std::size_t i = 0; i < known; ++i) sum += per_row_[i];
  return known ? sum / static_cast<double>(known) : 0;
}

void HistoryRule::apply(const Problem& problem, Draft& draft) {
  if (!problem.loads.priced()) return;
  loads_ = problem.loads;
  draft.load(loads_);
  const std::size_t bottleneck = loads_.busiest();
  double next = 0;
  for (std::size_t device = 0; device < loads_.devices(); ++device) {
    if (device != bottleneck) next = std::max(next, loads_.busy(device));
  }

  visits_.clear();
  visits_.reserve(draft.rows());
  for (std::size_t row = 0; row < draft.rows(); ++row) {
    const Picks picks = draft.row(row);
    const auto here = std::count_if(picks.begin(), picks.end(),
                                    [&](const Pick& p) { return p.device == bottleneck; });
    if (here == 0 || static_cast<std::size_t>(here) == picks.size()) continue;
    visits_.push_back({weight_on(picks, bottleneck), static_cast<std::uint32_t>(row)});
  }
  std::sort(visits_.begin(), visits_.end(), [](const Visit& a, const Visit& b) {
    return a.weight < b.weight || (a.weight == b.weight && a.row < b.row);
  });
  for (const Visit& visit : visits_) {
    if (loads_.busy(bottleneck) <= next) break;
    leave(draft, visit.row, bottleneck, loads_);
  }
}

}  // namespace wdmoe::bsd
