// What holds for every policy of the catalogue: valid answers to anything, the same answer to the
// same question, and no heap on the token's path.
#include <limits>

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "tests/bsd/moe/certificates.h"
#include "tests/bsd/moe/random_cell.h"
#include "tests/support/allocations.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

TEST_CASE("every policy: does not allocate for a batch no larger than one it has seen") {
  std::mt19937 random(41);
  CellShape shape{64, 16, 8, 4, true, false, true, true, true};
  const RandomCell first(shape, random);
  std::vector<RandomCell> later;
  for (int repetition = 0; repetition < 20; ++repetition) {
    shape.rows = 1 + random() % 64;
    later.emplace_back(shape, random);
  }
  for (const PolicyEntry& entry : policies()) {
    CAPTURE(entry.name);
    for (const double quality : {-1.0, 0.7, 0.0}) {
      const auto policy = make_policy(entry.name, {quality}).value();
      Selection selection;
      // Replicas make rows of a later batch longer queues on one device than the first batch's.
      policy->select(first.input(), selection);
      const std::size_t before = test::allocations();
      for (const RandomCell& cell : later) policy->select(cell.input(), selection);
      CHECK(test::allocations() == before);
    }
  }
  const std::size_t before = test::allocations();
  std::vector<int> counted(7);
  CHECK(test::allocations() > before);  // the counter counts
}

TEST_CASE("every policy: answers are valid and repeatable, whatever the cell") {
  std::mt19937 random(42);
  for (const PolicyEntry& entry : policies()) {
    CAPTURE(entry.name);
    const auto policy = make_policy(entry.name).value();
    for (int repetition = 0; repetition < 2000; ++repetition) {
      CellShape shape = random_shape(20, 24, 9, random);
      if (entry.name == "topk") shape.orphans = false;  // says nobody instead
      const RandomCell cell(shape, random);
      Selection selection, again;
      policy->select(cell.input(), selection);
      CAPTURE(repetition);
      REQUIRE(is_valid(cell.input(), selection));
      REQUIRE(kept_gate_mass(cell.input(), selection) <= 1 + 1e-9);
      policy->select(cell.input(), again);
      REQUIRE(again.size() == selection.size());
      for (std::size_t i = 0; i < again.size(); ++i) {
        REQUIRE(again[i].expert == selection[i].expert);
        REQUIRE(again[i].device == selection[i].device);
        REQUIRE(again[i].weight == selection[i].weight);
      }
    }
  }
}

TEST_CASE("every policy: survives senseless probabilities and latencies") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::mt19937 random(43);
  const float bad_p[] = {0.0f, kNan, -1.0f, 0.25f, std::numeric_limits<float>::infinity(), 1e-40f};
  const double bad_s[] = {0.0, -1.0, std::nan(""), kInfinity, 1e300, 1e-300, 1e-3};
  for (const PolicyEntry& entry : policies()) {
    if (entry.name == "topk") continue;  // copies the gate's weights, senseless or not
    CAPTURE(entry.name);
    const auto policy = make_policy(entry.name).value();
    for (int repetition = 0; repetition < 2000; ++repetition) {
      RandomCell cell(random_shape(8, 12, 5, random), random);
      for (float& p : cell.probabilities) p = random() % 2 ? p : bad_p[random() % 6];
      for (double& s : cell.per_row) s = bad_s[random() % 7];
      for (double& s : cell.airtime) s = bad_s[random() % 7];
      cell.per_row.resize(1 + random() % cell.per_row.size());  // fewer than there are devices
      Selection selection;
      policy->select(cell.input(), selection);
      CAPTURE(repetition);
      REQUIRE(is_valid(cell.input(), selection));
    }
  }
}

TEST_CASE("every policy: no rows, no holders, no latencies") {
  const std::vector<float> p{0.5f, 0.3f, 0.2f};
  const Holders holders{{0}, {1}, {2}}, nobody{{}, {}, {}};
  for (const PolicyEntry& entry : policies()) {
    CAPTURE(entry.name);
    const auto policy = make_policy(entry.name, {-1, 0.0}).value();
    Selection selection{{0, 0, 0, 1.0f}};
    SelectionInput input;
    input.holders = &holders;
    input.probabilities = {p.data(), 0, 3};
    policy->select(input, selection);
    CHECK(selection.empty());
    input.probabilities = {p.data(), 1, 3};
    policy->select(input, selection);
    CHECK(selection.size() == 2);  // what nothing is known against, stays
    input.holders = &nobody;
    policy->select(input, selection);
    REQUIRE(selection.size() == 2);
    CHECK(selection[0].device == kNobody);
  }
}
