#pragma once
// A selection policy that works in a made-up cell: it decides every layer jointly with the
// bandwidth, lets the cell's time pass, and keeps the account.  The simulator feeds it made-up or
// recorded gates, `wdmoe eval` the gates of a model that decodes with it.

#include <optional>

#include "bsd/joint.h"
#include "bsd/moe/selection.h"
#include "bsd/moe/tally.h"
#include "sim/cell.h"
#include "sim/exchange.h"
#include "sim/scenario.h"

namespace wdmoe::sim {

/// Sums over all exchanges so far.
struct Account {
  std::size_t exchanges = 0;      ///< one layer of one batch each
  std::size_t rows = 0;           ///< over all exchanges
  Seconds waiting{0};             ///< until the last answer: as predicted, or as played (pipelined)
  Seconds predicted{0};           ///< by the optimiser
  double kept_gate_mass = 0;      ///< summed over the rows
  std::size_t drops = 0;          ///< choices fewer than top_k a row
  std::size_t substitutions = 0;  ///< choices outside a row's top_k
  std::size_t rounds = 0;         ///< of the optimiser

  Seconds mean_waiting() const;        ///< per exchange
  Seconds mean_predicted() const;      ///< per exchange
  double mean_kept_gate_mass() const;  ///< 1 without rows
};

class CellPolicy final : public bsd::SelectionPolicy {
 public:
  /// `policy` outlives this.
  CellPolicy(bsd::SelectionPolicy& policy, bsd::Sharing sharing, const Scenario& scenario,
             std::uint64_t seed);

  std::string_view name() const override { return policy_.name(); }

  /// Selects for one layer of one batch among the scenario's devices (of `input` the holders and
  /// latencies are not read; its experts are the scenario's), then lets the cell advance by the
  /// time the exchange took.  After a failure (status()) selects as `policy` does, without a cell.
  void select(const bsd::SelectionInput& input, bsd::Selection& selection) override;

  const Account& account() const { return account_; }
  const Cell& cell() const { return cell_; }
  const bsd::Holders& holders() const { return holders_; }
  /// The first error of the optimiser: bad_input if the model's experts are not the scenario's.
  Result<void> status() const;

 private:
  void book(const bsd::SelectionInput& input, const bsd::Selection& selection,
            const bsd::Outcome& outcome, Seconds waiting);

  bsd::SelectionPolicy& policy_;
  bsd::JointOptimiser optimiser_;
  bsd::Cell view_;  // what of the cell one exchange sees
  bsd::Holders holders_;
  Cell cell_;
  ExchangePlayer player_;
  bsd::RowTallies tallies_;
  Account account_;
  std::optional<Error> error_;
};

}  // namespace wdmoe::sim
