#include "bsd/moe/exhaustive.h"

#include <algorithm>
#include <array>
#include <limits>

namespace wdmoe::bsd {

/// Options of a row: sum over i = 1..k of the i-th elementary symmetric polynomial of the numbers
/// of holders.  The same for every row, as all see the same experts.
bool Exhaustive::fits(const Problem& problem) {
  const Holders& holders = *problem.input->holders;
  const std::size_t top_k = problem.input->top_k;
  std::array<double, kMaxTopK + 1> symmetric{};
  symmetric[0] = 1;
  std::size_t held = 0;
  for (const auto& of_expert : holders) {
    held += of_expert.empty() ? 0 : 1;
    for (std::size_t i = top_k; i > 0; --i) {
      symmetric[i] += symmetric[i - 1] * static_cast<double>(of_expert.size());
    }
  }
  if (held != problem.ranks.width()) return false;  // experts beyond the ranks are not looked at
  double options = 0, selections = 1;
  for (std::size_t i = 1; i <= top_k; ++i) options += symmetric[i];
  for (std::size_t row = 0; row < problem.ranks.rows(); ++row) {
    selections *= options;
    if (selections > kMostSelections) return false;
  }
  return true;
}

bool Exhaustive::run(const Problem& problem, double quality, Draft& draft, Loads& loads) {
  problem_ = &problem;
  loads_ = &loads;
  const std::size_t rows = problem.ranks.rows();
  least_kept_ = quality * static_cast<double>(rows) - kMassSlack;
  best_latency_ = std::numeric_limits<double>::infinity();
  best_kept_ = -1;
  placed_.clear();
  best_.clear();
  placed_.reserve(rows * problem.input->top_k);
  best_.reserve(rows * problem.input->top_k);
  loads.clear();
  extend({});
  if (best_.empty()) return false;
  for (std::size_t row = 0; row < rows; ++row) draft.clear_row(row);
  for (const Placed& placed : best_) draft.insert(placed.row, placed.pick);
  return true;
}

void Exhaustive::extend(const Node& node) {
  const Ranked* const ranked = problem_->ranks.row(node.row);
  for (std::size_t rank = node.rank; rank < problem_->ranks.width(); ++rank) {
    for (const std::uint16_t device : problem_->holders.of(ranked[rank].expert)) {
      try_pick(node, rank, device);
    }
  }
}

void Exhaustive::try_pick(const Node& node, std::size_t rank, std::uint16_t device) {
  const Ranked& ranked = problem_->ranks.row(node.row)[rank];
  bool has_row = false;
  for (std::size_t back = 0; back < node.count; ++back) {
    has_row = has_row || placed_[placed_.size() - 1 - back].pick.device == device;
  }
  const Loads::Mark mark = loads_->mark(device);
  loads_->add(device, ranked.expert, has_row);
  Node next = node;
  next.latency = std::max({node.latency, loads_->busy(device), loads_->airtime()});
  if (next.latency <= best_latency_) {
    const double top = problem_->ranks.top_mass(node.row);
    const double share = static_cast<double>(ranked.probability) / top;
    next.row_kept += top > 0 ? share : 1 - node.row_kept;
    next.rank = rank + 1;
    ++next.count;
    placed_.push_back(
        {static_cast<std::uint32_t>(node.row),
         {static_cast<std::uint16_t>(rank), ranked.expert, device, ranked.probability}});
    finish_row(next);
    if (next.count < problem_->input->top_k) extend(next);
    placed_.pop_back();
  }
  loads_->undo(device, mark);
}

/// Leaves the row as it is and goes on to the next; after the last row, compares with the best.
void Exhaustive::finish_row(const Node& node) {
  if (node.row_kept < problem_->floor_of(node.row) - kMassSlack) return;
  const std::size_t rows = problem_->ranks.rows();
  Node next{node.row + 1, 0, 0, node.kept + node.row_kept, 0, node.latency};
  const double most = next.kept + static_cast<double>(rows - next.row);  // a row keeps at most 1
  if (most < least_kept_) return;
  const bool ties = next.latency >= best_latency_;
  if (ties && most <= best_kept_) return;
  if (next.row < rows) return extend(next);
  best_latency_ = next.latency;
  best_kept_ = next.kept;
  best_.assign(placed_.begin(), placed_.end());
}

}  // namespace wdmoe::bsd
