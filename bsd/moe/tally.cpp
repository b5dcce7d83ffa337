#include "bsd/moe/tally.h"

#include <algorithm>
#include <functional>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

/// Experts that go before `expert` in the gate's order.
std::size_t rank_of(Span<const float> probabilities, std::size_t expert) {
  const float own = probabilities[expert];
  std::size_t rank = 0;
  for (std::size_t other = 0; other < probabilities.size(); ++other)
    rank += probabilities[other] > own || (probabilities[other] == own && other < expert);
  return rank;
}

double top_mass(Span<const float> probabilities, std::size_t top_k, std::vector<float>& scratch) {
  scratch.assign(probabilities.begin(), probabilities.end());
  const auto end = scratch.begin() + static_cast<std::ptrdiff_t>(top_k);
  std::nth_element(scratch.begin(), end - 1, scratch.end(), std::greater<>());
  double mass = 0;
  for (auto value = scratch.begin(); value != end; ++value) mass += static_cast<double>(*value);
  return mass;
}

}  // namespace

SelectionTally tally_row(Span<const float> probabilities, std::size_t top_k,
                         Span<const Choice> choices, std::vector<float>& scratch) {
  SelectionTally tally;
  tally.rows = 1;
  double chosen = 0;
  for (const Choice& choice : choices) {
    chosen += static_cast<double>(probabilities[choice.expert]);
    tally.substitutions += rank_of(probabilities, choice.expert) >= top_k;
  }
  tally.drops = top_k > choices.size() ? top_k - choices.size() : 0;
  tally.kept = 1;
  if (tally.drops == 0 && tally.substitutions == 0) return tally;
  const double top = top_mass(probabilities, top_k, scratch);
  if (top > 0) tally.kept = chosen / top;
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
