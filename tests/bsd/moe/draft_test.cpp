#include "bsd/moe/draft.h"

#include <cmath>
#include <limits>
#include <numeric>

#include <doctest/doctest.h>

#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Two rows over three experts; devices 0 and 1; expert 1 at both.
struct Fixture {
  std::vector<float> p{0.5f, 0.3f, 0.2f, 0.1f, 0.2f, 0.7f};
  Holders holders{{0}, {0, 1}, {1}};
  std::vector<double> fixed{1, 2}, per_row{10, 20}, airtime{16, 16};
  std::vector<double> per_choice{0.1, 0.2, 0.3, 0.4, 0.5, 0.6};
  SelectionInput input;

  Fixture() {
    input.probabilities = {p.data(), 2, 3};
    input.holders = &holders;
    input.latencies.fixed_s = {fixed.data(), 2};
    input.latencies.per_row_s = {per_row.data(), 2};
  }
};

}  // namespace

TEST_CASE("predicted latency: fixed once, rows once a device, choices each, or the medium") {
  Fixture f;
  // Row 0 sends two choices to device 0 but travels once; row 1 uses both devices.
  const Selection selection{{0, 0, 0, 0.6f}, {0, 1, 0, 0.4f}, {1, 1, 0, 0.2f}, {1, 2, 1, 0.8f}};
  CHECK(predicted_latency(f.input, selection) == doctest::Approx(22));  // device 1: 2 + 20
  f.input.latencies.per_choice_s = {f.per_choice.data(), 2, 3};
  CHECK(predicted_latency(f.input, selection) == doctest::Approx(22.6));
  const Selection first_device{{0, 0, 0, 0.6f}, {0, 1, 0, 0.4f}, {1, 1, 0, 1.0f}};
  CHECK(predicted_latency(f.input, first_device) == doctest::Approx(1 + 2 * 10 + 0.1 + 0.2 + 0.2));
  f.input.latencies.airtime_s = {f.airtime.data(), 2};
  CHECK(predicted_latency(f.input, selection) == doctest::Approx(3 * 16));
  CHECK(predicted_latency(f.input, {}) == 0);
  CHECK(predicted_latency(f.input, {{0, 0, kNobody, 1.0f}}) == kInfinity);
}

TEST_CASE("predicted latency: senseless estimates count as 0 or forever, missing ones as slowest") {
  Fixture f;
  f.per_row = {-3, std::numeric_limits<double>::quiet_NaN()};
  CHECK(predicted_latency(f.input, {{0, 2, 1, 1.0f}}) == 2);
  f.per_row = {kInfinity, 1};
  CHECK(predicted_latency(f.input, {{0, 0, 0, 1.0f}}) == kForever + 1);
  f.per_row = {10, 20};
  f.holders[2] = {7};  // joined after the estimates were made
  CHECK(predicted_latency(f.input, {{0, 2, 7, 1.0f}}) == 2 + 20);
}

TEST_CASE("kept gate mass: relative to the gate's own choice, per row, then the mean") {
  Fixture f;
  CHECK(kept_gate_mass(f.input, {{0, 0, 0, 1.0f}, {1, 2, 1, 1.0f}}) ==
        doctest::Approx((0.5 / 0.8 + 0.7 / 0.9) / 2));
  const auto top_k = make_top_k_policy();
  Selection selection;
  top_k->select(f.input, selection);
  CHECK(kept_gate_mass(f.input, selection) == doctest::Approx(1));
  // A substitute counts with its own probability.
  CHECK(kept_gate_mass(f.input, {{0, 0, 0, 0.7f}, {0, 2, 1, 0.3f}, {1, 2, 1, 1.0f}}) ==
        doctest::Approx((0.7 / 0.8 + 0.7 / 0.9) / 2));
  // Nobody holds the best expert: the mass stays relative to the gate's choice.
  f.holders[2].clear();
  CHECK(kept_gate_mass(f.input, {{0, 0, 0, 1.0f}, {1, 1, 1, 1.0f}}) ==
        doctest::Approx((0.5 / 0.8 + 0.2 / 0.9) / 2));
  f.input.probabilities.rows = 0;
  CHECK(kept_gate_mass(f.input, {}) == 1);
}

TEST_CASE("ranks: selectable experts in the order of a stable sort") {
  std::mt19937 random(5);
  for (int repetition = 0; repetition < 200; ++repetition) {
    CellShape shape = random_shape(4, 40, 6, random);
    shape.orphans = true;
    RandomCell cell(shape, random);
    for (float& p : cell.probabilities) p = std::round(p * 20) / 20;  // ties
    Ranks ranks;
    ranks.build(cell.input());
    for (std::size_t row = 0; row < shape.rows; ++row) {
      const float* p = cell.probabilities.data() + row * shape.experts;
      std::vector<std::size_t> order(shape.experts);
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
      double top = 0;
      for (std::size_t k = 0; k < shape.top_k; ++k) top += static_cast<double>(p[order[k]]);
      CHECK(ranks.top_mass(row) == top);
      std::erase_if(order, [&](std::size_t expert) { return cell.holders[expert].empty(); });
      REQUIRE(ranks.width() <= order.size());
      for (std::size_t rank = 0; rank < ranks.width(); ++rank) {
        CHECK(ranks.row(row)[rank].expert == order[rank]);
        CHECK(ranks.row(row)[rank].probability == p[order[rank]]);
      }
    }
  }
}

TEST_CASE("loads: adding and removing in any order agrees with adding afresh") {
  std::mt19937 random(6);
  for (int repetition = 0; repetition < 200; ++repetition) {
    const RandomCell cell(random_shape(8, 8, 4, random), random);
    const SelectionInput input = cell.input();
    Problem problem;
    problem.prepare(input);
    Draft draft;
    draft.start(problem);
    Loads loads = problem.loads;
    draft.load(loads);
    for (int move = 0; move < 20; ++move) {
      const std::size_t row = random() % draft.rows();
      if (draft.row(row).size() < 2) continue;
      const std::size_t slot = random() % draft.row(row).size();
      const Pick pick = draft.row(row)[slot];
      draft.remove(row, slot);
      loads.remove(pick.device, pick.expert, draft.visits(row, pick.device));
    }
    Loads fresh = problem.loads;
    draft.load(fresh);
    for (std::size_t device = 0; device < loads.devices(); ++device) {
      CHECK(loads.busy(device) == doctest::Approx(fresh.busy(device)).epsilon(1e-12));
    }
    CHECK(std::abs(loads.airtime() - fresh.airtime()) < 1e-15);
  }
}

TEST_CASE("draft: starts as plain top-k to the last bit, and takes an earlier selection") {
  std::mt19937 random(7);
  const auto top_k = make_top_k_policy();
  for (int repetition = 0; repetition < 200; ++repetition) {
    CellShape shape = random_shape(6, 12, 4, random);
    shape.orphans = false;
    const RandomCell cell(shape, random);
    const SelectionInput input = cell.input();
    Problem problem;
    problem.prepare(input);
    Draft draft, again;
    draft.start(problem);
    Selection expected, selection, copy;
    top_k->select(input, expected);
    draft.write(selection);
    REQUIRE(again.start_from(problem, selection));
    again.write(copy);
    for (const Selection* each : {&selection, &copy}) {
      REQUIRE(each->size() == expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CHECK((*each)[i].row == expected[i].row);
        CHECK((*each)[i].expert == expected[i].expert);
        CHECK((*each)[i].device == expected[i].device);
        CHECK((*each)[i].weight == expected[i].weight);
      }
    }
  }
}

TEST_CASE("draft: refuses an earlier selection that does not fit") {
  Fixture f;
  Problem problem;
  problem.prepare(f.input);
  struct Case {
    const char* name;
    Selection selection;
  };
  const Case cases[] = {
      {"a row is missing", {{0, 0, 0, 1.0f}}},
      {"a row too many", {{0, 0, 0, 1.0f}, {1, 2, 1, 1.0f}, {2, 0, 0, 1.0f}}},
      {"an expert beyond the last", {{0, 3, 0, 1.0f}, {1, 2, 1, 1.0f}}},
      {"a device that does not hold it", {{0, 0, 1, 1.0f}, {1, 2, 1, 1.0f}}},
      {"nobody", {{0, 0, kNobody, 1.0f}, {1, 2, 1, 1.0f}}},
      {"an expert twice", {{0, 1, 0, 0.5f}, {0, 1, 1, 0.5f}, {1, 2, 1, 1.0f}}},
      {"more than top-k", {{0, 0, 0, 0.4f}, {0, 1, 0, 0.3f}, {0, 2, 1, 0.3f}, {1, 2, 1, 1.0f}}},
  };
  for (const Case& c : cases) {
    SUBCASE(c.name) {
      Draft draft;
      CHECK_FALSE(draft.start_from(problem, c.selection));
    }
  }
  Draft draft;
  CHECK(draft.start_from(problem, {{0, 1, 1, 1.0f}, {1, 2, 1, 1.0f}}));
}
