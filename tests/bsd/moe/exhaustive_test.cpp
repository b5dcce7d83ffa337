#include "bsd/moe/exhaustive.h"

#include <cmath>

#include <doctest/doctest.h>

#include "tests/bsd/moe/certificates.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

TEST_CASE("exhaustive: finds what looking at every selection finds") {
  std::mt19937 random(31);
  int solved = 0, impossible = 0;
  for (int repetition = 0; repetition < 6000; ++repetition) {
    const RandomCell cell(random_shape(3, 6, 4, random), random);
    SelectionInput input = cell.input();
    std::vector<float> floors(cell.shape.rows, 0.0f);
    if (repetition % 3 == 0) floors[0] = 0.9f;
    input.row_quality = {floors.data(), floors.size()};
    Problem problem;
    problem.prepare(input);
    if (!Exhaustive::fits(problem)) continue;
    BruteForce brute_force(input);
    const double quality = static_cast<double>(random() % 101) / 100;
    const double least = brute_force.least_latency(quality);
    Draft draft;
    draft.start(problem);
    Loads loads = problem.loads;
    CAPTURE(repetition);
    if (!Exhaustive().run(problem, quality, draft, loads)) {
      CHECK(std::isinf(least));
      ++impossible;
      continue;
    }
    ++solved;
    Selection selection;
    draft.write(selection);
    CHECK(is_valid(input, selection));
    CHECK(predicted_latency(input, selection) == doctest::Approx(least).epsilon(1e-12));
    CHECK(kept_gate_mass(input, selection) >= quality - 2e-9);
  }
  CHECK(solved > 1000);
  CHECK(impossible > 10);
}

TEST_CASE("exhaustive: takes the layer of one decoded Mixtral row, refuses what would take long") {
  std::mt19937 random(32);
  const auto fits = [&](std::size_t rows, std::size_t experts, std::size_t top_k) {
    CellShape shape{};
    shape.rows = rows;
    shape.experts = experts;
    shape.devices = experts;
    shape.top_k = top_k;
    const RandomCell cell(shape, random);
    const SelectionInput input = cell.input();
    Problem problem;
    problem.prepare(input);
    return Exhaustive::fits(problem);
  };
  CHECK(fits(1, 8, 2));
  CHECK(fits(2, 8, 2));
  CHECK_FALSE(fits(3, 8, 2));
  CHECK_FALSE(fits(1, 128, 8));
  CHECK_FALSE(fits(100'000, 2, 1));
}
