#include "bsd/moe/draft.h"

#include <algorithm>
#include <limits>

#include "bsd/moe/metrics.h"

namespace wdmoe::bsd {

void Draft::start(const Problem& problem) {
  const Ranks& ranks = problem.ranks;
  const Holders& holders = *problem.input->holders;
  top_k_ = problem.input->top_k;
  const std::size_t kept = std::min(top_k_, ranks.width());
  picks_.resize(ranks.rows() * top_k_);
  count_.assign(ranks.rows(), static_cast<std::uint16_t>(kept));
  for (std::size_t row = 0; row < ranks.rows(); ++row) {
    const Ranked* const ranked = ranks.row(row);
    Pick* const picks = picks_.data() + row * top_k_;
    for (std::size_t k = 0; k < kept; ++k) {
      picks[k] = {static_cast<std::uint16_t>(k), ranked[k].expert,
                  holders[ranked[k].expert].front(), ranked[k].probability};
    }
  }
}

bool Draft::start_from(const Problem& problem, const Selection& selection) {
  const Ranks& ranks = problem.ranks;
  top_k_ = problem.input->top_k;
  picks_.resize(ranks.rows() * top_k_);
  count_.assign(ranks.rows(), 0);
  for (const Choice& choice : selection) {
    if (choice.row >= ranks.rows() || choice.expert >= problem.input->holders->size()) return false;
    const auto& of_expert = (*problem.input->holders)[choice.expert];
    if (std::find(of_expert.begin(), of_expert.end(), choice.device) == of_expert.end()) {
      return false;
    }
    const Ranked* const ranked = ranks.row(choice.row);
    const auto* const found = std::find_if(
        ranked, ranked + ranks.width(), [&](const Ranked& r) { return r.expert == choice.expert; });
    const auto rank = static_cast<std::uint16_t>(found - ranked);
    if (rank == ranks.width() || count_[choice.row] == top_k_) return false;
    for (const Pick& pick : row(choice.row)) {
      if (pick.rank == rank) return false;
    }
    insert(choice.row, {rank, choice.expert, choice.device, found->probability});
  }
  return std::find(count_.begin(), count_.end(), 0) == count_.end();
}

void Draft::remove(std::size_t row, std::size_t slot) {
  Pick* const picks = picks_.data() + row * top_k_;
  std::copy(picks + slot + 1, picks + count_[row], picks + slot);
  --count_[row];
}

void Draft::insert(std::size_t row, Pick pick) {
  Pick* const picks = picks_.data() + row * top_k_;
  std::size_t slot = count_[row]++;
  for (; slot > 0 && picks[slot - 1].rank > pick.rank; --slot) picks[slot] = picks[slot - 1];
  picks[slot] = pick;
}

void Draft::load(Loads& loads) const {
  for (std::size_t index = 0; index < rows(); ++index) {
    const Picks picks = row(index);
    for (std::size_t slot = 0; slot < picks.size(); ++slot) {
      bool has_row = false;
      for (std::size_t other = 0; other < slot; ++other) {
        has_row = has_row || picks[other].device == picks[slot].device;
      }
      loads.add(picks[slot].device, picks[slot].expert, has_row);
    }
  }
}

double Draft::kept(const Problem& problem, std::size_t index) const {
  const double top = problem.ranks.top_mass(index);
  if (!(top > 0)) return 1;
  double mass = 0;
  for (const Pick& pick : row(index)) mass += static_cast<double>(pick.probability);
  return mass / top;
}

double Draft::total_kept(const Problem& problem) const {
  double total = 0;
  for (std::size_t index = 0; index < rows(); ++index) total += kept(problem, index);
  return total;
}

void Draft::write(Selection& selection) const {
  selection.clear();
  selection.reserve(rows() * top_k_);
  for (std::size_t index = 0; index < rows(); ++index) {
    const Picks picks = row(index);
    float sum = 0;
    for (const Pick& pick : picks) sum += pick.probability;
    const float even = 1.0f / static_cast<float>(picks.size());
    for (const Pick& pick : picks) {
      selection.push_back({static_cast<std::uint32_t>(index), pick.expert, pick.device,
                           sum > 0 ? pick.probability / sum : even});
    }
  }
}

double predicted_latency(const SelectionInput& input, const Selection& selection) {
  return LatencyPredictor()(input, selection);
}

double LatencyPredictor::operator()(const SelectionInput& input, const Selection& selection) {
  loads_.reset(input);
  std::size_t first = 0;
  for (std::size_t index = 0; index < selection.size(); ++index) {
    const Choice& choice = selection[index];
    if (choice.device >= loads_.devices()) return std::numeric_limits<double>::infinity();
    if (selection[first].row != choice.row) first = index;
    bool has_row = false;
    for (std::size_t other = first; other < index; ++other) {
      has_row = has_row || selection[other].device == choice.device;
    }
    loads_.add(choice.device, choice.expert, has_row);
  }
  return loads_.latency();
}

double kept_gate_mass(const SelectionInput& input, const Selection& selection) {
  SelectionMetrics metrics;
  metrics.look_at(input);
  return metrics.kept_gate_mass(selection);
}

}  // namespace wdmoe::bsd
