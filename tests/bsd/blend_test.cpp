// Blends of two selections: whole rows of either, and never less mass than asked for.
#include "bsd/blend.h"

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "bsd/moe/draft.h"
#include "tests/bsd/moe/certificates.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

TEST_CASE("blend: whole rows of either side, mass held, and the ends where they belong") {
  std::mt19937 random(31);
  for (int repetition = 0; repetition < 500; ++repetition) {
    const RandomCell cell({1 + random() % 40, 8, 8, 2}, random);
    SelectionInput input = cell.input();
    Selection from, to, out;
    make_policy("minmax", {0.7}).value()->select(input, from);
    make_policy("budget", {0.7}).value()->select(input, to);
    const double least = std::min(kept_gate_mass(input, from), kept_gate_mass(input, to));
    SelectionMetrics metrics;
    metrics.look_at(input);
    Blend blend;
    blend.between(metrics, from, to, least);
    const auto equal = [](const Choice& a, const Choice& b) {
      return a.row == b.row && a.expert == b.expert && a.device == b.device && a.weight == b.weight;
    };
    const auto same = [&](const Selection& a, const Selection& b) {
      return std::equal(a.begin(), a.end(), b.begin(), b.end(), equal);
    };
    for (const double part : {0.0, 0.1, 0.5, 1.0}) {
      blend.write(part, out);
      REQUIRE(is_valid(input, out));
      CHECK(kept_gate_mass(input, out) >= least - 1e-9);
      if (part == 0) CHECK(same(out, from));
      if (part == 1) CHECK(same(out, to));
      const std::size_t rows = input.probabilities.rows;
      for (std::uint32_t row = 0; row < rows; ++row) {
        const auto row_of = [&](const Selection& all) {
          Selection one;
          for (const Choice& choice : all) {
            if (choice.row == row) one.push_back(choice);
          }
          return one;
        };
        const Selection mixed = row_of(out);
        CHECK((same(mixed, row_of(from)) || same(mixed, row_of(to))));
      }
    }
  }
}
