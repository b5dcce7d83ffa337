#include "bsd/moe/budget.h"

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

const Holders kHolders{{0}, {1}, {2}};

Selection choose(const char* name, const PolicyOptions& options, const std::vector<float>& p,
                 const std::vector<float>& floors = {}) {
  SelectionInput input;
  input.probabilities = {p.data(), p.size() / 3, 3};
  input.holders = &kHolders;
  input.row_quality = {floors.data(), floors.size()};
  Selection selection;
  make_policy(name, options).value()->select(input, selection);
  return selection;
}

}  // namespace

TEST_CASE("budget: drops the lowest shares first, as many as the mean allows") {
  // Shares of the second choices: 0.1, 0.4, 0.25; three rows.
  const std::vector<float> p{0.90f, 0.10f, 0.0f, 0.6f, 0.4f, 0.0f, 0.25f, 0.75f, 0.0f};
  PolicyOptions options;
  options.quality = 1;
  CHECK(choose("budget", options, p).size() == 6);
  options.quality = 1 - 0.101 / 3;
  CHECK(choose("budget", options, p).size() == 5);
  options.quality = 1 - 0.351 / 3;
  const Selection two = choose("budget", options, p);
  REQUIRE(two.size() == 4);
  CHECK(two[0].weight == 1.0f);
  CHECK(two[1].row == 1);  // gave up nothing
  CHECK(two[2].row == 1);
  CHECK(two[3].expert == 1);
  options.quality = 0;
  CHECK(choose("budget", options, p).size() == 3);
  CHECK(choose("budget", options, p, {1.0f, 0.0f, 0.9f}).size() == 5);  // floors of rows 0 and 2
}

TEST_CASE("budget: keeps what it was told to, and could not have dropped one more") {
  std::mt19937 random(13);
  for (int repetition = 0; repetition < 2000; ++repetition) {
    CellShape shape = random_shape(8, 8, 4, random);
    shape.orphans = false;
    const RandomCell cell(shape, random);
    SelectionInput input = cell.input();
    input.quality = 0.5 + 0.5 * static_cast<double>(random() % 100) / 100;
    Selection selection;
    make_policy("budget").value()->select(input, selection);
    const double kept = kept_gate_mass(input, selection);
    CHECK(kept >= input.quality - 1e-8);
    for (std::size_t i = 1; i < selection.size(); ++i) {
      if (selection[i].row != selection[i - 1].row) continue;
      Selection fewer = selection;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      CHECK(kept_gate_mass(input, fewer) < input.quality);
    }
  }
}

TEST_CASE("beta: skips what is small beside the row's greatest weight") {
  const std::vector<float> p{0.8f, 0.2f, 0.0f, 0.6f, 0.4f, 0.0f};
  PolicyOptions options;
  options.beta = 0;
  CHECK(choose("beta", options, p).size() == 4);
  options.beta = 0.3;
  const Selection selection = choose("beta", options, p);
  REQUIRE(selection.size() == 3);
  CHECK(selection[0].weight == 1.0f);
  options.beta = 1;
  CHECK(choose("beta", options, p).size() == 2);
  CHECK(choose("beta", options, p, {0.9f}).size() == 3);  // the first row may lose 0.1 at most
}
