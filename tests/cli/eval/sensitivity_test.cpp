#include "cli/eval/sensitivity.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::cli::eval;

namespace {

constexpr std::size_t kLayers = 3;
// A made-up model: giving up mass in layer l costs kPrice[l] times the square of it, a token.
const double kPrice[kLayers] = {1.0, 0.1, 4.0};
const Case kBudget{"budget", "", {}, {}};

Result<Outcome> made_up(const Case& how, const Material& material) {
  Outcome outcome;
  outcome.how = how;
  double loss = 3, kept = 0;
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    double quality = how.policy == "topk" ? 1 : how.quality.value_or(1);
    if (!how.layer_quality.empty()) quality = how.layer_quality[layer];
    loss += kPrice[layer] * (1 - quality) * (1 - quality);
    outcome.layer_kept.push_back(quality);
    kept += quality / kLayers;
  }
  outcome.kept_gate_mass = kept;
  // In a cell every unit of mass given up saves a second in each of two batches.
  if (!how.allocator.empty()) outcome.waiting = Waiting{2 * kLayers * kept, 2 * kLayers, 1};
  for (const Question& window : material.windows)
    outcome.answers.losses.push_back(loss * static_cast<double>(window.endings.front().size()));
  return outcome;
}

Halves halves() {
  return halve(std::vector<Question>(5, {{1}, {{2, 3, 4}}}));
}

double loss_of(const Outcome& outcome) {
  return outcome.answers.losses.front();
}

}  // namespace

TEST_CASE("sensitivity: each layer's curve is its own, per token") {
  const Halves text = halves();
  CHECK(text.measured.windows.size() == 3);
  CHECK(text.tried.windows.size() == 2);
  const std::vector<double> points{0.9, 0.6};
  const auto curves = measure_curves(kLayers, points, kBudget, text.measured, made_up);
  REQUIRE(curves);
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    REQUIRE((*curves)[layer].size() == 2);
    CHECK((*curves)[layer][0].kept == 0.9);
    CHECK((*curves)[layer][0].nll_increase == doctest::Approx(kPrice[layer] * 0.01));
    CHECK((*curves)[layer][1].nll_increase == doctest::Approx(kPrice[layer] * 0.16));
  }
}

TEST_CASE(
    "sensitivity: in a cell the curves say what is saved, and time goes to where it is dear") {
  const Halves text = halves();
  const std::vector<double> points{0.9, 0.8, 0.6};
  const Case like{"minmax", "exact", {}, {}};
  const auto curves = measure_curves(kLayers, points, like, text.measured, made_up).value();
  for (const bsd::SensitivityCurve& curve : curves)
    CHECK(curve[1].saved_s.value() == doctest::Approx(0.2));
  const auto budgets = bsd::allocate_increase(curves, 0.05).value();
  CHECK(budgets[1] < budgets[0]);
  CHECK(budgets[0] < budgets[2]);
  const auto outcomes = compare_budgets(budgets, like, text.tried, made_up).value();
  CHECK(outcomes[0].how.allocator == "equal");
  CHECK(outcomes[2].how.policy == "minmax");
}

TEST_CASE("sensitivity: the budget made of the curves beats the same mean spent blindly") {
  const Halves text = halves();
  const std::vector<double> points{0.95, 0.9, 0.8, 0.6};
  const auto curves = measure_curves(kLayers, points, kBudget, text.measured, made_up).value();
  const auto budgets = bsd::allocate_quality(curves, 0.9).value();
  CHECK(budgets[1] < budgets[0]);
  CHECK(budgets[0] < budgets[2]);
  const auto outcomes = compare_budgets(budgets, kBudget, text.tried, made_up);
  REQUIRE(outcomes);
  REQUIRE(outcomes->size() == 3);
  CHECK(*(*outcomes)[1].kept_gate_mass == doctest::Approx(0.9));
  CHECK(*(*outcomes)[2].kept_gate_mass == doctest::Approx(0.9));
  CHECK(loss_of((*outcomes)[0]) < loss_of((*outcomes)[2]));
  CHECK(loss_of((*outcomes)[2]) < loss_of((*outcomes)[1]));
}

TEST_CASE("sensitivity: a run's error comes through") {
  const RunCase broken = [](const Case&, const Material&) -> Result<Outcome> {
    return fail(Code::unavailable, "gone");
  };
  const Halves text = halves();
  const auto curves =
      measure_curves(kLayers, std::vector<double>{0.9}, kBudget, text.measured, broken);
  CHECK(curves.error().text == "gone");
  CHECK_FALSE(compare_budgets({1, 1, 1}, kBudget, text.tried, broken));
}
