#pragma once
// What must hold for every selection, and the slow twin of the search for the best one.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "bsd/moe/draft.h"
#include "bsd/moe/selection.h"

namespace wdmoe::bsd {

/// Rows in order, each with 1..top_k different experts at devices that hold them, weights > 0 that
/// sum to 1.
inline bool is_valid(const SelectionInput& input, const Selection& selection) {
  std::size_t index = 0;
  for (std::size_t row = 0; row < input.probabilities.rows; ++row) {
    const std::size_t first = index;
    double sum = 0;
    for (; index < selection.size() && selection[index].row == row; ++index) {
      const Choice& choice = selection[index];
      if (choice.expert >= input.holders->size() || !(choice.weight >= 0)) return false;
      const auto& of_expert = (*input.holders)[choice.expert];
      if (std::count(of_expert.begin(), of_expert.end(), choice.device) == 0) return false;
      for (std::size_t other = first; other < index; ++other) {
        if (selection[other].expert == choice.expert) return false;
      }
      sum += static_cast<double>(choice.weight);
    }
    if (index == first || index - first > input.top_k || std::abs(sum - 1) > 1e-5) return false;
  }
  return index == selection.size();
}

/// Looks at every selection of a small problem, straight from the definitions.
class BruteForce {
 public:
  explicit BruteForce(const SelectionInput& input) : input_(input) {
    for (std::size_t row = 0; row < input.probabilities.rows; ++row) {
      options_.emplace_back();
      Selection option;
      list_options(row, 0, option);
    }
  }

  /// Least latency with mean kept gate mass >= quality and rows at their floors; infinite if none.
  double least_latency(double quality) {
    quality_ = quality;
    best_ = std::numeric_limits<double>::infinity();
    Selection selection;
    visit(0, 0, selection);
    return best_;
  }

 private:
  struct Option {
    Selection choices;
    double kept;
  };

  void list_options(std::size_t row, std::size_t expert, Selection& option) {
    if (expert == input_.holders->size()) {
      if (option.empty()) return;
      SelectionInput only = input_;
      only.probabilities = input_.probabilities.slice_rows(row, 1);
      Selection first = option;
      for (Choice& choice : first) choice.row = 0;
      const double kept = kept_gate_mass(only, first);
      const double floor =
          row < input_.row_quality.size() ? static_cast<double>(input_.row_quality[row]) : 0.0;
      if (kept >= floor - 1e-9) options_[row].push_back({option, kept});
      return;
    }
    list_options(row, expert + 1, option);
    if (option.size() == input_.top_k) return;
    for (const std::uint16_t device : (*input_.holders)[expert]) {
      option.push_back(
          {static_cast<std::uint32_t>(row), static_cast<std::uint16_t>(expert), device, 1.0f});
      list_options(row, expert + 1, option);
      option.pop_back();
    }
  }

  void visit(std::size_t row, double kept, Selection& selection) {
    const double rows = static_cast<double>(options_.size());
    const double left = rows - static_cast<double>(row);
    if (kept + left < quality_ * rows - 1e-9) return;  // a row keeps at most 1
    if (row == options_.size()) {
      best_ = std::min(best_, predicted_latency(input_, selection));
      return;
    }
    for (const Option& option : options_[row]) {
      selection.insert(selection.end(), option.choices.begin(), option.choices.end());
      // More rows never lower the latency, so a prefix that is late already is late in the end.
      if (predicted_latency(input_, selection) < best_)
        visit(row + 1, kept + option.kept, selection);
      selection.resize(selection.size() - option.choices.size());
    }
  }

  SelectionInput input_;
  std::vector<std::vector<Option>> options_;
  double quality_ = 0, best_ = 0;
};

}  // namespace wdmoe::bsd
