#include "sim/cell_policy.h"

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "bsd/moe/draft.h"
#include "sim/gate.h"
#include "tests/sim/scenarios.h"

using namespace wdmoe;
using sim::CellPolicy;
using test::scenario_of;

namespace {

const std::string kSmall =
    "[devices]\ncount = 8\n[model]\nlayers = 4\n[workload]\nrows = 16\nbatches = 3\n";

}  // namespace

TEST_CASE("cell policy: the account is the sum of what each exchange cost") {
  const auto scenario = scenario_of(kSmall + "[channel]\nfading = \"none\"\n");
  const auto top_k = bsd::make_top_k_policy();
  CellPolicy policy(*top_k, bsd::Sharing::equal, scenario, 1);
  const auto gates = sim::open_workload(scenario, 1).value();
  bsd::SelectionInput input;
  bsd::Selection selection;
  double waiting = 0;
  for (auto layer = gates->next().value(); layer; layer = gates->next().value()) {
    input.probabilities = layer->probabilities;
    policy.select(input, selection);
    CHECK(selection.size() == 32);
    // An equal split among eight, the paper's sum, by hand.
    double slowest = 0;
    for (std::uint16_t device = 0; device < 8; ++device) {
      const auto rows = std::count_if(selection.begin(), selection.end(),
                                      [&](const auto& c) { return c.device == device; });
      radio::DeviceDemand demand = policy.cell().demands()[device];
      demand.tokens = static_cast<double>(rows);
      const radio::AllocationProblem problem{radio::Medium::fdma_common, Hertz(100e6),
                                             scenario.cell.noise(), Bits(65536),
                                             Span<const radio::DeviceDemand>(&demand, 1)};
      slowest = std::max(slowest,
                         radio::finish_time(problem, demand, Hertz(12.5e6), Hertz(12.5e6)).count());
    }
    waiting += slowest;
  }
  REQUIRE(policy.status());
  const sim::Account& account = policy.account();
  CHECK(account.waiting.count() == doctest::Approx(waiting).epsilon(1e-12));
  CHECK(account.exchanges == 12);
  CHECK(account.rows == 192);
  CHECK(account.mean_kept_gate_mass() == doctest::Approx(1).epsilon(1e-6));
  CHECK(account.drops == 0);
  CHECK(account.substitutions == 0);
}

TEST_CASE("cell policy: drops and substitutions are counted against the gate's own choice") {
  const auto scenario = scenario_of(kSmall);
  const auto minmax = bsd::make_policy("minmax", {0.8}).value();
  CellPolicy policy(*minmax, bsd::Sharing::exact, scenario, 1);
  const auto gates = sim::open_workload(scenario, 1).value();
  bsd::SelectionInput input;
  bsd::Selection selection, plain;
  std::size_t drops = 0, substitutions = 0;
  double kept = 0;
  const auto top_k = bsd::make_top_k_policy();
  for (auto layer = gates->next().value(); layer; layer = gates->next().value()) {
    input.probabilities = layer->probabilities;
    input.holders = &policy.holders();
    policy.select(input, selection);
    top_k->select(input, plain);
    drops += plain.size() - selection.size();
    for (const bsd::Choice& choice : selection)
      substitutions += std::none_of(plain.begin(), plain.end(), [&](const auto& own) {
        return own.row == choice.row && own.expert == choice.expert;
      });
    kept += bsd::kept_gate_mass(input, selection);
  }
  CHECK(policy.account().drops == drops);
  CHECK(policy.account().substitutions == substitutions);
  CHECK(drops > 0);
  CHECK(policy.account().mean_kept_gate_mass() == doctest::Approx(kept / 12).epsilon(1e-9));
  CHECK(policy.account().mean_kept_gate_mass() >= 0.8 - 1e-9);
}

TEST_CASE("cell policy: rows that overlap are played, and the prediction is kept beside") {
  const auto scenario =
      scenario_of(kSmall + "[cell]\nmedium = \"airtime\"\nlatency = \"pipelined\"\n");
  const auto top_k = bsd::make_top_k_policy();
  CellPolicy policy(*top_k, bsd::Sharing::exact, scenario, 1);
  const auto gates = sim::open_workload(scenario, 1).value();
  bsd::SelectionInput input;
  bsd::Selection selection;
  for (auto layer = gates->next().value(); layer; layer = gates->next().value()) {
    input.probabilities = layer->probabilities;
    policy.select(input, selection);
  }
  REQUIRE(policy.status());
  CHECK(policy.account().waiting.count() > 0);
  CHECK(policy.account().waiting != policy.account().predicted);
}

TEST_CASE("cell policy: a model of another shape is refused, and still selects") {
  const auto scenario = scenario_of(kSmall);
  const auto top_k = bsd::make_top_k_policy();
  CellPolicy policy(*top_k, bsd::Sharing::equal, scenario, 1);
  const float p[] = {0.5F, 0.3F, 0.2F};
  const bsd::Holders holders(3, {0});
  bsd::SelectionInput input;
  input.probabilities = {p, 1, 3};
  input.holders = &holders;
  bsd::Selection selection;
  policy.select(input, selection);
  CHECK(selection.size() == 2);
  const auto status = policy.status();
  REQUIRE(!status.has_value());
  CHECK(status.error().text ==
        "the model has 3 experts a layer, the scenario's model.experts is 8");
}
