// Joint selection and allocation: latency never rises from round to round, and what is reported is
// what a slow twin computes from the selection and the shares alone.
#include "bsd/joint.h"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "bsd/moe/draft.h"
#include "tests/bsd/joint_cell.h"
#include "tests/bsd/moe/certificates.h"
#include "tests/support/allocations.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

/// T of `selection` under the outcome's shares, straight from the definitions.
double waiting_of(const Cell& cell, const Selection& selection, const Outcome& outcome) {
  std::set<std::pair<std::uint32_t, std::uint16_t>> rows;
  std::vector<double> q(cell.devices.size(), 0.0), visits(q);
  for (const Choice& choice : selection) {
    q[choice.device] += rows.insert({choice.row, choice.device}).second ? 1 : 0;
    visits[choice.device] += 1;
  }
  const radio::AllocationProblem problem{cell.medium, cell.bandwidth, cell.noise, cell.bits_per_row,
                                         cell.devices};
  double latest = 0;
  for (std::size_t k = 0; k < q.size(); ++k) {
    if (q[k] == 0) continue;
    const radio::DeviceDemand& device = cell.devices[k];
    const radio::Rates rates = radio::rates_of(problem, device, outcome.shares[k].bandwidth_dl,
                                               outcome.shares[k].bandwidth_ul);
    const double d = cell.bits_per_row.value() / rates.down.value();
    const double u = cell.bits_per_row.value() / rates.up.value();
    const double c = device.compute_per_token.count() * visits[k] / q[k];
    const double one = d + u + c, slowest = std::max({d, u, c});
    const double busy = cell.pipelined ? one + (q[k] - 1) * slowest : q[k] * one;
    latest = std::max(latest, device.fixed.count() + busy);
  }
  return latest;
}

void check_outcome(const JointCell& owned, const SelectionInput& input, const Selection& selection,
                   const Outcome& outcome) {
  REQUIRE(is_valid(input, selection));
  const double waited = outcome.waiting_latency.count();
  CHECK(waited == doctest::Approx(waiting_of(owned.cell, selection, outcome)).epsilon(1e-12));
  CHECK(outcome.kept_gate_mass == doctest::Approx(kept_gate_mass(input, selection)));
  REQUIRE(outcome.rounds >= 1);
  REQUIRE(outcome.waiting_after.size() == outcome.rounds);
  CHECK(std::is_sorted(outcome.waiting_after.rbegin(), outcome.waiting_after.rend()));
  CHECK(outcome.waiting_after[outcome.rounds - 1] == outcome.waiting_latency);
  double down = 0, up = 0;
  for (const radio::DeviceShare& share : outcome.shares) {
    down += share.bandwidth_dl / owned.cell.bandwidth;
    up += share.bandwidth_ul / owned.cell.bandwidth;
  }
  const bool turns = owned.cell.medium == radio::Medium::airtime;
  CHECK((turns ? down + up : std::max(down, up)) <= 1 + 1e-9);
}

}  // namespace

TEST_CASE("joint: latency never rises, and is what selection and shares say, in 12,000 cells") {
  std::mt19937 random(1);
  for (int cell = 0; cell < 12'000; ++cell) {
    CAPTURE(cell);
    CellShape shape = random_shape(12, 8, 6, random);
    shape.orphans = false;
    const JointCell owned(shape, random);
    const PolicyEntry& entry = policies()[static_cast<std::size_t>(cell) % policies().size()];
    const double quality = std::uniform_real_distribution<double>(0.5, 1)(random);
    CAPTURE(entry.name);
    const auto policy = make_policy(entry.name).value();
    JointOptimiser exact(*policy, Sharing::exact), equal(*policy, Sharing::equal);
    const SelectionInput input = owned.input(quality);
    Selection selection;
    const auto best = exact.decide(input, owned.cell, selection);
    REQUIRE(best.has_value());
    check_outcome(owned, input, selection, *best);
    if (entry.name == "minmax") CHECK(best->kept_gate_mass >= quality - 1e-9);
    const auto plain = equal.decide(input, owned.cell, selection);
    REQUIRE(plain.has_value());
    check_outcome(owned, input, selection, *plain);
    CHECK(plain->rounds == 1);
    // The first round selects at the equal split; allocating for it exactly cannot be worse.
    CHECK(best->waiting_latency <= plain->waiting_latency * (1 + 1e-9));
  }
}

TEST_CASE("joint: does not allocate memory for what is no larger than it has seen") {
  std::mt19937 random(7);
  CellShape shape{64, 8, 8, 2};
  constexpr std::array<std::size_t, 3> kWarmUp{64, RowSearch::kMostRows, 2};  // each its own way
  for (const bool replicas : {false, true}) {
    shape.replicas = replicas;
    std::vector<std::unique_ptr<JointCell>> cells;
    for (std::size_t i = 0; i < 16; ++i) {
      shape.rows = i < 3 ? kWarmUp[i] : 1 + random() % 64;
      cells.push_back(std::make_unique<JointCell>(shape, random));
      cells.back()->cell.pipelined = i % 4 == 3;
      cells.back()->gates.holders = cells[0]->gates.holders;
    }
    for (const PolicyEntry& entry : policies()) {
      CAPTURE(entry.name);
      const auto policy = make_policy(entry.name).value();
      JointOptimiser joint(*policy, Sharing::exact);
      Selection selection;
      for (std::size_t i = 0; i < kWarmUp.size(); ++i) {
        REQUIRE(joint.decide(cells[i]->input(0.8), cells[i]->cell, selection).has_value());
      }
      const std::size_t before = test::allocations();
      bool decided = true;
      for (const auto& owned : cells) {
        decided = decided && joint.decide(owned->input(0.8), owned->cell, selection).has_value();
      }
      CHECK(decided);
      CHECK(test::allocations() == before);
    }
  }
}

TEST_CASE("joint: refuses a cell without numbers and a choice without a link, by name") {
  std::mt19937 random(3);
  JointCell owned({8, 4, 4, 2}, random);
  const auto top_k = make_policy("topk").value();
  JointOptimiser joint(*top_k, Sharing::exact);
  Selection selection;
  for (std::uint16_t k = 0; k < 4; ++k) owned.gates.holders[k].assign(1, k);
  owned.devices[2].gain_ul = 0;
  const auto deaf = joint.decide(owned.input(-1), owned.cell, selection);
  REQUIRE_FALSE(deaf.has_value());
  CHECK(deaf.error().code == Code::unavailable);
  CHECK(deaf.error().text.find("device 2") != std::string::npos);

  owned.devices[2].gain_ul = -1;
  const auto wrong = joint.decide(owned.input(-1), owned.cell, selection);
  REQUIRE_FALSE(wrong.has_value());
  CHECK(wrong.error().code == Code::bad_input);

  owned.devices[2].gain_ul = 1e-10;
  owned.gates.holders.assign(4, {});
  const auto nobody = joint.decide(owned.input(-1), owned.cell, selection);
  REQUIRE_FALSE(nobody.has_value());
  CHECK(nobody.error().code == Code::unavailable);

  owned.gates.holders.assign(4, {9});  // a device that the cell does not have
  CHECK_FALSE(joint.decide(owned.input(-1), owned.cell, selection).has_value());
}

TEST_CASE("joint: stays where it is, for its search calls back into it") {
  CHECK_FALSE(std::is_copy_constructible_v<JointOptimiser>);
  CHECK_FALSE(std::is_move_constructible_v<JointOptimiser>);
  CHECK_FALSE(std::is_move_assignable_v<JointOptimiser>);
}

TEST_CASE("joint: no rows cost nothing, and one device gets the whole band") {
  std::mt19937 random(5);
  JointCell owned({1, 2, 1, 1}, random);
  owned.cell.medium = radio::Medium::fdma_common;
  const auto minmax = make_policy("minmax").value();
  JointOptimiser joint(*minmax, Sharing::exact);
  Selection selection;
  const auto one = joint.decide(owned.input(0.9), owned.cell, selection);
  REQUIRE(one.has_value());
  CHECK(one->shares[0].bandwidth_dl / owned.cell.bandwidth == doctest::Approx(1));
  SelectionInput none = owned.input(0.9);
  none.probabilities.rows = 0;
  const auto idle = joint.decide(none, owned.cell, selection);
  REQUIRE(idle.has_value());
  CHECK(idle->waiting_latency == Seconds(0));
  CHECK(idle->kept_gate_mass == 1);
  CHECK(selection.empty());
}
