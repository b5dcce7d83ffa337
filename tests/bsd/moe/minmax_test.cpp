#include "bsd/moe/minmax.h"

#include <limits>

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "tests/bsd/moe/certificates.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

// Latencies are sums of at most some hundred terms, added in different orders.
constexpr double kRounding = 1 + 1e-12;
constexpr double kMassTolerance = 2e-9;

struct Outcome {
  double latency, kept;
};

Outcome run(SelectionPolicy& policy, const SelectionInput& input, Selection& selection) {
  policy.select(input, selection);
  REQUIRE(is_valid(input, selection));
  return {predicted_latency(input, selection), kept_gate_mass(input, selection)};
}

}  // namespace

TEST_CASE("minmax: never later than topk, wlr and history at the mass they keep; monotone") {
  constexpr int kCases = 100'000;
  std::mt19937 random(21);
  const auto minmax = make_policy("minmax").value();
  const std::unique_ptr<SelectionPolicy> rivals[] = {
      make_policy("wlr").value(), make_policy("history").value(), make_policy("topk").value()};
  Selection selection;
  double cut = 0;
  for (int repetition = 0; repetition < kCases; ++repetition) {
    CellShape shape = random_shape(6, 8, 6, random);
    shape.orphans = false;  // plain top-k would choose what nobody holds
    const RandomCell cell(shape, random);
    SelectionInput input = cell.input();
    CAPTURE(repetition);

    const Outcome by_default = run(*minmax, input, selection);
    for (const auto& rival : rivals) {
      const Outcome theirs = run(*rival, input, selection);
      input.quality = std::min(theirs.kept, 1.0);
      const Outcome ours = run(*minmax, input, selection);
      CAPTURE(rival->name());
      REQUIRE(ours.latency <= theirs.latency * kRounding);
      REQUIRE(ours.kept >= theirs.kept - kMassTolerance);
      if (rival->name() != "wlr") continue;
      REQUIRE(by_default.latency <= theirs.latency * kRounding);  // the default budget is wlr's
      REQUIRE(by_default.kept >= theirs.kept - kMassTolerance);
      cut += 1 - ours.latency / theirs.latency;
    }

    double before = std::numeric_limits<double>::infinity();
    for (const double quality : {1.0, 0.97, 0.9, 0.8, 0.6, 0.3, 0.0}) {
      input.quality = quality;
      const Outcome ours = run(*minmax, input, selection);
      CAPTURE(quality);
      REQUIRE(ours.kept >= quality - kMassTolerance);
      REQUIRE(ours.latency <= before * kRounding);
      before = ours.latency;
    }
  }
  MESSAGE("at wlr's kept mass minmax waits " << 100 * cut / kCases << " % less than wlr (mean)");
  CHECK(cut / kCases > 0.03);
}

TEST_CASE("minmax: within 5 % of brute force on average, where it does not enumerate itself") {
  constexpr int kCases = 1500;
  std::mt19937 random(22);
  const auto minmax = make_policy("minmax").value();
  Selection selection;
  double gap = 0, worst = 0;
  int optimal = 0, compared = 0;
  for (int repetition = 0; repetition < kCases; ++repetition) {
    CellShape shape = random_shape(4, 4, 4, random);
    shape.rows = 4;
    shape.experts = 4;
    shape.top_k = 2;
    shape.orphans = false;
    const RandomCell cell(shape, random);
    SelectionInput input = cell.input();
    Problem problem;
    problem.prepare(input);
    REQUIRE_FALSE(Exhaustive::fits(problem));
    BruteForce brute_force(input);
    input.quality = 0.5 + 0.5 * static_cast<double>(random() % 101) / 100;
    const Outcome ours = run(*minmax, input, selection);
    CAPTURE(repetition);
    REQUIRE(ours.kept >= input.quality - kMassTolerance);
    const double least = brute_force.least_latency(input.quality);
    REQUIRE(ours.latency >= least / kRounding);
    gap += ours.latency / least - 1;
    worst = std::max(worst, ours.latency / least - 1);
    optimal += ours.latency <= least * kRounding ? 1 : 0;
    ++compared;
  }
  MESSAGE("gap to brute force: mean " << 100 * gap / compared << " %, worst " << 100 * worst
                                      << " %, optimal in " << optimal << " of " << compared);
  CHECK(gap / compared <= 0.05);
}

TEST_CASE("minmax: with a budget of 1 and one holder each it is plain top-k to the last bit") {
  std::mt19937 random(23);
  const auto minmax = make_policy("minmax", {1.0}).value();
  for (int repetition = 0; repetition < 500; ++repetition) {
    CellShape shape = random_shape(12, 16, 6, random);
    shape.orphans = shape.replicas = false;
    const RandomCell cell(shape, random);
    Selection ours, plain;
    minmax->select(cell.input(), ours);
    make_top_k_policy()->select(cell.input(), plain);
    REQUIRE(ours.size() == plain.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      CHECK(ours[i].expert == plain[i].expert);
      CHECK(ours[i].weight == plain[i].weight);
    }
  }
}

TEST_CASE("minmax: uses a replica, then a substitute, then drops") {
  // Both rows want experts 0 and 1; device 0 is slow.  Expert 2 is nearly as good as expert 0.
  const std::vector<float> p{0.40f, 0.35f, 0.25f, 0.0f};
  const std::vector<double> per_row{10, 1, 1};
  SelectionInput input;
  input.probabilities = {p.data(), 1, 4};
  input.latencies.per_row_s = {per_row.data(), 3};
  const auto minmax = make_policy("minmax").value();
  Selection selection;

  const Holders replicated{{0, 2}, {1}, {2}, {1}};
  input.holders = &replicated;
  input.quality = 1;
  CHECK(run(*minmax, input, selection).latency == 1);
  REQUIRE(selection.size() == 2);
  CHECK(selection[0].device == 2);

  const Holders single{{0}, {1}, {2}, {1}};
  input.holders = &single;
  CHECK(run(*minmax, input, selection).latency == 10);
  input.quality = 0.79;  // (0.35 + 0.25) / 0.75 = 0.8
  CHECK(run(*minmax, input, selection).latency == 1);
  REQUIRE(selection.size() == 2);
  CHECK(selection[0].expert == 1);
  CHECK(selection[1].expert == 2);

  const Holders nowhere_else{{0}, {1}, {0}, {0}};
  input.holders = &nowhere_else;
  CHECK(run(*minmax, input, selection).latency == 10);
  input.quality = 0.46;  // 0.35 / 0.75 = 0.467
  CHECK(run(*minmax, input, selection).latency == 1);
  CHECK(selection.size() == 1);
}

TEST_CASE("minmax: all rows leave a device whose round trip is what costs") {
  // Every expert has two holders, a far one first; a row costs nothing beyond the round trip, so
  // nothing is gained until the last one has left.
  constexpr std::size_t kRows = 6, kExperts = 4;
  std::vector<float> p(kRows * kExperts);
  for (std::size_t row = 0; row < kRows; ++row)
    for (std::size_t expert = 0; expert < kExperts; ++expert)
      p[row * kExperts + expert] = (row + expert) % 2 == 0 ? 0.3f : 0.2f;
  const Holders holders{{0, 2}, {1, 3}, {0, 2}, {1, 3}};
  const std::vector<double> fixed{40e-3, 9e-3, 8e-3, 30e-3}, per_row(4);
  SelectionInput input;
  input.top_k = 2;
  input.probabilities = {p.data(), kRows, kExperts};
  input.holders = &holders;
  input.latencies.fixed_s = {fixed.data(), fixed.size()};
  input.latencies.per_row_s = {per_row.data(), per_row.size()};
  input.quality = 1;
  Selection selection;
  make_policy("minmax").value()->select(input, selection);
  CHECK(selection.size() == 2 * kRows);
  for (const Choice& choice : selection) CHECK((choice.device == 1 || choice.device == 2));
}

TEST_CASE("minmax: each row keeps its own floor, whatever the mean allows") {
  std::mt19937 random(24);
  const auto minmax = make_policy("minmax", {0.0}).value();
  Selection selection;
  for (int repetition = 0; repetition < 2000; ++repetition) {
    CellShape shape = random_shape(8, 8, 5, random);
    shape.orphans = false;
    const RandomCell cell(shape, random);
    SelectionInput input = cell.input();
    std::vector<float> floors(shape.rows);
    for (float& floor : floors) floor = static_cast<float>(random() % 3) / 2;  // 0, 0.5, 1
    input.row_quality = {floors.data(), floors.size()};
    run(*minmax, input, selection);
    Problem problem;
    problem.prepare(input);
    Draft draft;
    REQUIRE(draft.start_from(problem, selection));
    for (std::size_t row = 0; row < shape.rows; ++row) {
      CHECK(draft.kept(problem, row) >= static_cast<double>(floors[row]) - kMassTolerance);
    }
  }
}

TEST_CASE("minmax: never later than the previous decision at new latencies") {
  std::mt19937 random(25);
  const auto minmax = make_policy("minmax").value();
  Selection selection, previous;
  for (int repetition = 0; repetition < 2000; ++repetition) {
    CellShape shape = random_shape(10, 8, 6, random);
    shape.orphans = false;
    RandomCell cell(shape, random);
    SelectionInput input = cell.input();
    input.quality = 0.8;
    minmax->select(input, previous);
    for (double& seconds : cell.per_row) seconds *= 0.5 + static_cast<double>(random() % 100) / 100;
    input.previous = &previous;
    const Outcome ours = run(*minmax, input, selection);
    CHECK(ours.latency <= predicted_latency(input, previous) * kRounding);
    CHECK(ours.kept >= 0.8 - kMassTolerance);
  }
}

TEST_CASE("minmax: keeps all mass that costs no latency") {
  std::mt19937 random(26);
  const auto minmax = make_policy("minmax", {0.0}).value();
  Selection selection;
  for (int repetition = 0; repetition < 500; ++repetition) {
    CellShape shape = random_shape(10, 8, 6, random);
    shape.rows = 10;
    shape.orphans = false;
    const RandomCell cell(shape, random);
    const SelectionInput input = cell.input();
    const Outcome ours = run(*minmax, input, selection);
    Problem problem;
    problem.prepare(input);
    Draft draft;
    REQUIRE(draft.start_from(problem, selection));
    for (std::size_t row = 0; row < shape.rows; ++row) {
      if (draft.row(row).size() >= input.top_k) continue;
      for (std::size_t expert = 0; expert < shape.experts; ++expert) {
        for (const std::uint16_t device : cell.holders[expert]) {
          Selection more = selection;
          const auto end =
              std::find_if(more.begin(), more.end(), [&](const Choice& c) { return c.row > row; });
          const auto same = std::find_if(more.begin(), more.end(), [&](const Choice& c) {
            return c.row == row && c.expert == expert;
          });
          if (same != more.end()) continue;
          more.insert(end, {static_cast<std::uint32_t>(row), static_cast<std::uint16_t>(expert),
                            device, 1.0f});
          CHECK(predicted_latency(input, more) > ours.latency);
        }
      }
    }
  }
}
