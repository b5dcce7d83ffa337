#include "bsd/moe/history.h"

#include <limits>

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

/// The same rule on bare selections: every step looks at everything again.
Selection twin(const SelectionInput& input, Selection selection) {
  const auto busy = [&](std::size_t device) {
    Selection there;
    for (const Choice& c : selection) {
      if (c.device == device) there.push_back(c);
    }
    return predicted_latency(input, there);
  };
  const Selection start = selection;
  const std::size_t devices = input.latencies.per_row_s.size();
  std::size_t worst = 0;
  for (std::size_t k = 1; k < devices; ++k) worst = busy(k) > busy(worst) ? k : worst;
  for (;;) {
    double next = 0;
    for (std::size_t k = 0; k < devices; ++k) next = k == worst ? next : std::max(next, busy(k));
    if (busy(worst) <= next) return selection;
    double lowest = 2;
    std::uint32_t row = 0;
    for (std::uint32_t j = 0; j < input.probabilities.rows; ++j) {
      double here = 0, elsewhere = 0;
      for (const Choice& c : selection) {
        if (c.row == j) (c.device == worst ? here : elsewhere) += static_cast<double>(c.weight);
      }
      if (here > 0 && elsewhere > 0 && here < lowest) {
        lowest = here;
        row = j;
      }
    }
    if (lowest > 1) return selection;
    std::erase_if(selection, [&](const Choice& c) { return c.row == row && c.device == worst; });
  }
}

}  // namespace

TEST_CASE("history: agrees with the rule evaluated afresh at every step") {
  std::mt19937 random(12);
  std::size_t dropped = 0;
  for (int repetition = 0; repetition < 3000; ++repetition) {
    CellShape shape = random_shape(8, 8, 5, random);
    shape.orphans = shape.replicas = shape.airtime = false;
    const RandomCell cell(shape, random);
    const SelectionInput input = cell.input();
    Selection plain, chosen;
    make_top_k_policy()->select(input, plain);
    make_policy("history").value()->select(input, chosen);
    const Selection expected = twin(input, plain);
    dropped += plain.size() - chosen.size();
    CAPTURE(repetition);
    REQUIRE(chosen.size() == expected.size());
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      CHECK(chosen[i].row == expected[i].row);
      CHECK(chosen[i].expert == expected[i].expert);
    }
    CHECK(predicted_latency(input, chosen) <= predicted_latency(input, plain) * (1 + 1e-12));
  }
  CHECK(dropped > 1000);
}

TEST_CASE("latency history: the mean of the newest exchanges, per row") {
  LatencyHistory history;
  CHECK(history.per_row_s() == 0);
  history.observe(2, 4e-3);
  history.observe(1, 4e-3);
  CHECK(history.per_row_s() == doctest::Approx(3e-3));
  history.observe(0, 1);
  history.observe(1, -1);
  history.observe(1, std::numeric_limits<double>::quiet_NaN());
  CHECK(history.per_row_s() == doctest::Approx(3e-3));
  for (std::size_t i = 0; i < LatencyHistory::kWindow; ++i) history.observe(4, 2e-2);
  CHECK(history.per_row_s() == doctest::Approx(5e-3));
}
