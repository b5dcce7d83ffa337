#include "bsd/moe/weight_error.h"

#include <map>

#include <doctest/doctest.h>

#include "bsd/moe/draft.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe::bsd;

TEST_CASE("weight error: 0 for the gate's own choice, (w2 / w1)^2 for a dropped second") {
  const float p[]{0.5f, 0.25f, 0.125f, 0.125f};
  const Holders holders{{0}, {0}, {0}, {0}};
  SelectionInput input;
  input.probabilities = {p, 1, 4};
  input.holders = &holders;
  Ranks ranks;
  ranks.build(input);
  RowWeights weights;
  weights.add(0.5f, true);
  CHECK(weights.error(ranks, 0) == doctest::Approx(0.25));
  weights.add(0.25f, true);
  CHECK(weights.error(ranks, 0) == 0);
  weights.remove(0.5f, true);  // the best is gone
  CHECK(weights.error(ranks, 0) == doctest::Approx(4));
  weights.remove(0.25f, true);
  CHECK(weights.empty());
}

TEST_CASE("weight error: is the sum over all experts, whoever is held") {
  std::mt19937 random(11);
  for (int repetition = 0; repetition < 3000; ++repetition) {
    CAPTURE(repetition);
    CellShape shape = random_shape(1, 12, 6, random);
    const RandomCell cell(shape, random);
    const SelectionInput input = cell.input();
    Problem problem;
    problem.prepare(input);
    if (problem.trivial()) continue;
    const Ranks& ranks = problem.ranks;
    std::map<std::size_t, double> gate, ours;
    std::vector<std::pair<float, std::size_t>> order;
    for (std::size_t e = 0; e < shape.experts; ++e) order.emplace_back(-cell.probabilities[e], e);
    std::sort(order.begin(), order.end());
    double top = 0;
    for (std::size_t k = 0; k < shape.top_k; ++k) top -= static_cast<double>(order[k].first);
    for (std::size_t k = 0; k < shape.top_k; ++k)
      gate[order[k].second] = -static_cast<double>(order[k].first) / top;

    RowWeights weights;
    double mass = 0;
    for (std::size_t rank = 0; rank < ranks.width(); ++rank) {
      if (random() % 2 && !(mass == 0 && rank + 1 == ranks.width())) continue;
      const Ranked& chosen = ranks.row(0)[rank];
      CHECK((rank < ranks.own(0)) == (gate.count(chosen.expert) == 1));
      weights.add(chosen.probability, rank < ranks.own(0));
      ours[chosen.expert] = static_cast<double>(chosen.probability);
      mass += static_cast<double>(chosen.probability);
    }
    double distance = 0;
    for (std::size_t e = 0; e < shape.experts; ++e) {
      const double was = gate.count(e) ? gate[e] : 0, is = ours.count(e) ? ours[e] / mass : 0;
      distance += (is - was) * (is - was);
    }
    const double kept = mass / top;
    CHECK(weights.error(ranks, 0) ==
          doctest::Approx(0.5 * distance / kept / kept).epsilon(1e-9).scale(1e-6 / kept / kept));
  }
}
