#include "sim/cell_policy.h"

#include <algorithm>

namespace wdmoe::sim {

namespace {

Seconds per_exchange(Seconds sum, std::size_t exchanges) {
  return sum / static_cast<double>(std::max<std::size_t>(exchanges, 1));
}

}  // namespace

Seconds Account::mean_waiting() const {
  return per_exchange(waiting, exchanges);
}

Seconds Account::mean_predicted() const {
  return per_exchange(predicted, exchanges);
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
  tallies_.begin(input.probabilities.rows);
  const bsd::SelectionTally tally = tallies_.add(0, input, selection);
  ++account_.exchanges;
  account_.rows += tally.rows;
  account_.waiting += waiting;
  account_.predicted += outcome.waiting_latency;
  account_.kept_gate_mass += tally.kept;
  account_.drops += tally.drops;
  account_.substitutions += tally.substitutions;
  account_.rounds += outcome.rounds;
}

Result<void> CellPolicy::status() const {
  if (error_) return tl::unexpected<Error>(*error_);
  return {};
}

}  // namespace wdmoe::sim
