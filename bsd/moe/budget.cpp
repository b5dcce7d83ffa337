#include "bsd/moe/budget.h"

#include <algorithm>

namespace wdmoe::bsd {

void BudgetRule::apply(const Problem& problem, Draft& draft) {
  const double wanted = problem.input->quality >= 0 ? problem.input->quality : quality_;
  const double least = wanted * static_cast<double>(draft.rows()) - kMassSlack;
  losses_.clear();
  losses_.reserve(draft.rows() * draft.top_k());
  for (std::size_t row = 0; row < draft.rows(); ++row) {
    const double top = problem.ranks.top_mass(row);
    const Picks picks = draft.row(row);
    for (std::size_t slot = 1; slot < picks.size(); ++slot) {
      const double share = top > 0 ? static_cast<double>(picks[slot].probability) / top : 0.0;
      losses_.push_back({share, static_cast<std::uint32_t>(row), picks[slot].rank});
    }
  }
  // Within a row the last comes first, so that a drop always takes the row's lowest.
  std::sort(losses_.begin(), losses_.end(), [](const Loss& a, const Loss& b) {
    if (a.share != b.share) return a.share < b.share;
    return a.row != b.row ? a.row < b.row : a.rank > b.rank;
  });
  double kept = draft.total_kept(problem);
  for (const Loss& loss : losses_) {
    if (kept - loss.share < least) break;
    if (draft.kept(problem, loss.row) - loss.share < problem.floor_of(loss.row) - kMassSlack) {
      continue;
    }
    draft.remove(loss.row, draft.row(loss.row).size() - 1);
    kept -= loss.share;
  }
}

void BetaRule::apply(const Problem& problem, Draft& draft) const {
  for (std::size_t row = 0; row < draft.rows(); ++row) {
    while (draft.row(row).size() > 1) {
      const Picks picks = draft.row(row);
      const auto last = static_cast<double>(picks[picks.size() - 1].probability);
      if (!(last < beta_ * static_cast<double>(picks[0].probability))) break;
      const double top = problem.ranks.top_mass(row);
      const double left = draft.kept(problem, row) - (top > 0 ? last / top : 0.0);
      if (left < problem.floor_of(row) - kMassSlack) break;
      draft.remove(row, picks.size() - 1);
    }
  }
}

}  // namespace wdmoe::bsd
