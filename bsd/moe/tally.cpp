#include "bsd/moe/tally.h"

#include <algorithm>
#include <functional>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

/// The gate's order: the more probable first, of equals the lower expert.
bool goes_before(Span<const float> p, std::size_t a, std::size_t b) {
  return p[a] > p[b] || (p[a] == p[b] && a < b);
}

/// Experts that go before `expert`.
std::size_t rank_of(Span<const float> p, std::size_t expert) {
  std::size_t rank = 0;
  for (std::size_t other = 0; other < p.size(); ++other) rank += goes_before(p, other, expert);
  return rank;
}

/// A row's top-k.
struct Top {
  double mass = 0;
  std::size_t last = 0;  ///< the expert that no other of them goes after
};

Top top_of(Span<const float> p, std::size_t top_k, std::vector<float>& scratch) {
  scratch.assign(p.begin(), p.end());
  const auto end = scratch.begin() + static_cast<std::ptrdiff_t>(top_k);
  std::nth_element(scratch.begin(), end - 1, scratch.end(), std::greater<>());
  const float least = *(end - 1);
  Top top;
  for (auto value = scratch.begin(); value != end; ++value) top.mass += static_cast<double>(*value);
  auto equals = std::count(scratch.begin(), end, least);  // of those in the top-k
  for (std::size_t expert = 0; equals > 0; ++expert)
    if (p[expert] == least) {
      top.last = expert;
      --equals;
    }
  return top;
}

}  // namespace

SelectionTally tally_row(Span<const float> probabilities, std::size_t top_k,
                         Span<const Choice> choices, std::vector<float>& scratch) {
  SelectionTally tally;
  tally.rows = 1;
  tally.kept = 1;
  tally.drops = top_k > choices.size() ? top_k - choices.size() : 0;
  const auto last =
      std::max_element(choices.begin(), choices.end(), [&](const Choice& a, const Choice& b) {
        return goes_before(probabilities, a.expert, b.expert);
      });
  // With the last of them in the top-k, all are.
  if (tally.drops == 0 && (choices.empty() || rank_of(probabilities, last->expert) < top_k))
    return tally;
  const Top top = top_of(probabilities, top_k, scratch);
  double chosen = 0;
  for (const Choice& choice : choices) {
    chosen += static_cast<double>(probabilities[choice.expert]);
    tally.substitutions += goes_before(probabilities, top.last, choice.expert);
  }
  if (top.mass > 0) tally.kept = chosen / top.mass;
  return tally;
}

void RowTallies::begin(std::size_t rows) {
  rows_.assign(rows, SelectionTally{});
}

SelectionTally RowTallies::add(std::size_t first_row, const SelectionInput& input,
                               const Selection& selection) {
  const Matrix<const float>& p = input.probabilities;
  WDMOE_CHECK(first_row + p.rows <= rows_.size());
  SelectionTally sum;
  std::size_t next = 0;
  for (std::size_t row = 0; row < p.rows; ++row) {
    const std::size_t first = next;
    while (next < selection.size() && selection[next].row == row) ++next;
    const SelectionTally one = tally_row({p.row(row), p.cols}, input.top_k,
                                         {selection.data() + first, next - first}, scratch_);
    rows_[first_row + row] += one;
    sum += one;
  }
  return sum;
}

SelectionTally RowTallies::sum(std::size_t first, std::size_t count) const {
  WDMOE_CHECK(first + count <= rows_.size());
  SelectionTally sum;
  for (std::size_t row = first; row < first + count; ++row) sum += rows_[row];
  return sum;
}

}  // namespace wdmoe::bsd
