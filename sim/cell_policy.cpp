#include "sim/cell_policy.h"

#include <algorithm>

namespace wdmoe::sim {
namespace {

/// How many of `choices` are none of the row's `choices.size() or more` likeliest: a choice is a
/// substitute if top_k experts or more are likelier.
std::size_t substitutes(const float* probability, std::size_t experts, std::size_t top_k,
                        Span<const bsd::Choice> choices) {
  std::size_t count = 0;
  for (const bsd::Choice& choice : choices) {
    const float own = probability[choice.expert];
    std::size_t before = 0;
    for (std::size_t expert = 0; expert < experts; ++expert)
      before += probability[expert] > own || (probability[expert] == own && expert < choice.expert);
    count += before >= top_k;
  }
  return count;
}

}  // namespace

Seconds Account::mean_waiting() const {
  return waiting / static_cast<double>(std::max<std::size_t>(exchanges, 1));
}

double Account::mean_kept_gate_mass() const {
  return rows == 0 ? 1 : kept_gate_mass / static_cast<double>(rows);
}

CellPolicy::CellPolicy(bsd::SelectionPolicy& policy, bsd::Sharing sharing, const Scenario& scenario,
                       std::uint64_t seed)
    : policy_(policy),
      optimiser_(policy, sharing),
      view_{scenario.cell.medium_kind(),
            Hertz(scenario.cell.bandwidth_hz),
            scenario.cell.noise(),
            scenario.bits_per_row(),
            {},
            scenario.cell.pipelined()},
      holders_(scenario.holders()),
      cell_(scenario, seed) {}

void CellPolicy::select(const bsd::SelectionInput& input, bsd::Selection& selection) {
  if (!error_ && input.probabilities.cols != holders_.size())
    error_ = Error{Code::bad_input, "the model has " + std::to_string(input.probabilities.cols) +
                                        " experts a layer, the scenario's model.experts is " +
                                        std::to_string(holders_.size())};
  if (error_) return policy_.select(input, selection);
  bsd::SelectionInput gates = input;
  gates.holders = &holders_;
  view_.devices = cell_.demands();
  const auto outcome = optimiser_.decide(gates, view_, selection);
  if (!outcome) {
    error_ = outcome.error();
    return policy_.select(input, selection);
  }
  const Seconds waiting =
      view_.pipelined ? player_.play(view_, outcome->shares, selection) : outcome->waiting_latency;
  book(gates, selection, *outcome, waiting);
  cell_.advance(waiting);
}

void CellPolicy::book(const bsd::SelectionInput& input, const bsd::Selection& selection,
                      const bsd::Outcome& outcome, Seconds waiting) {
  const Matrix<const float>& p = input.probabilities;
  ++account_.exchanges;
  account_.rows += p.rows;
  account_.waiting += waiting;
  account_.predicted += outcome.waiting_latency;
  account_.kept_gate_mass += outcome.kept_gate_mass * static_cast<double>(p.rows);
  account_.drops += p.rows * input.top_k - selection.size();
  account_.rounds += outcome.rounds;
  for (std::size_t first = 0, last = 0; first < selection.size(); first = last) {
    while (last < selection.size() && selection[last].row == selection[first].row) ++last;
    account_.substitutions +=
        substitutes(p.row(selection[first].row), p.cols, input.top_k,
                    Span<const bsd::Choice>(selection.data() + first, last - first));
  }
}

Result<void> CellPolicy::status() const {
  if (error_) return tl::unexpected<Error>(*error_);
  return {};
}

}  // namespace wdmoe::sim
