#include "bsd/layer_budgets.h"

#include <cmath>
#include <random>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/temp_folder.h"
#include "weights/file.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

/// Cost of keeping `kept` on straight lines between the points of a convex curve, (1, 0) included.
double interpolated(const SensitivityCurve& curve, double kept) {
  SensitivityPoint above{1, 0};
  for (const SensitivityPoint& below : curve) {  // by falling kept
    if (kept >= below.kept)
      return above.nll_increase + (above.kept - kept) / (above.kept - below.kept) *
                                      (below.nll_increase - above.nll_increase);
    above = below;
  }
  return kept >= above.kept - 1e-12 ? above.nll_increase : INFINITY;
}

/// Convex, by falling kept: at most down to 0.55.
SensitivityCurve random_curve(std::mt19937_64& random) {
  std::uniform_real_distribution<double> uniform(0, 1);
  SensitivityCurve curve;
  double kept = 1, increase = 0, slope = uniform(random) - 0.2;
  for (int i = 0; i < 3; ++i) {
    const double step = 0.05 * (1 + std::floor(3 * uniform(random)));
    kept -= step;
    increase += step * slope;
    slope += uniform(random);
    curve.push_back({kept, increase});
  }
  return curve;
}

const char* const kGood =
    R"({"model_id": "m", "layers": [0.9, 1], "curves": [[{"kept": 0.5, "nll_increase": 0.1}], []]})";

}  // namespace

TEST_CASE("allocate_quality: no split of the budget on a fine grid costs less") {
  std::mt19937_64 random(1);
  for (int repetition = 0; repetition < 50; ++repetition) {
    CAPTURE(repetition);
    const std::vector<SensitivityCurve> curves{random_curve(random), random_curve(random),
                                               random_curve(random)};
    const double target = 0.9;
    const auto kept = allocate_quality(curves, target);
    REQUIRE(kept);
    double mean = 0, cost = 0;
    for (std::size_t layer = 0; layer < 3; ++layer) {
      mean += (*kept)[layer] / 3;
      cost += interpolated(curves[layer], (*kept)[layer]);
    }
    CHECK(mean == doctest::Approx(target).epsilon(1e-9));
    double best = INFINITY;
    for (double a = 0; a <= 0.301; a += 0.01)  // losses of layers 0 and 1; layer 2 takes the rest
      for (double b = 0; a + b <= 0.301; b += 0.01) {
        const double c = std::max(3 * (1 - target) - a - b, 0.0);
        best = std::min(best, interpolated(curves[0], 1 - a) + interpolated(curves[1], 1 - b) +
                                  interpolated(curves[2], 1 - c));
      }
    CHECK(cost <= best + 1e-9);
  }
}

TEST_CASE("allocate_quality: a dent in a curve is bridged, a harmless layer pays first") {
  const std::vector<SensitivityCurve> curves{
      {{0.9, 0.5}, {0.8, 0.2}},  // 0.9 lies above the line to 0.8
      {{0.8, 0.02}},
      {}};  // never measured: never touched
  const auto kept = allocate_quality(curves, 0.9);
  REQUIRE(kept);
  CHECK((*kept)[1] == doctest::Approx(0.8));
  CHECK((*kept)[0] == doctest::Approx(0.9));
  CHECK((*kept)[2] == 1.0);
  CHECK_FALSE(allocate_quality(curves, 0.8));  // only 0.4 of the 0.6 was measured
  CHECK_FALSE(allocate_quality(curves, std::nan("")));
  CHECK_FALSE(allocate_quality({}, 1));
}

TEST_CASE("allocate_increase: no other split of the loss on a fine grid saves more") {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int repetition = 0; repetition < 50; ++repetition) {
    CAPTURE(repetition);
    std::vector<SensitivityCurve> curves{random_curve(random), random_curve(random),
                                         random_curve(random)};
    for (SensitivityCurve& curve : curves) {
      double saved = 0, gain = 5 + uniform(random);  // concave: each step saves less than the last
      SensitivityPoint above{1, 0};
      for (SensitivityPoint& point : curve) {
        point.nll_increase = std::max(point.nll_increase, above.nll_increase + 0.01);
        point.saved_s = saved += (above.kept - point.kept) * (gain *= 0.7);
        above = point;
      }
    }
    const double budget = 0.15;
    const auto kept = allocate_increase(curves, budget);
    REQUIRE(kept);
    const auto saved_at = [&](std::size_t layer, double quality) {
      SensitivityPoint above{1, 0, 0.0};
      for (const SensitivityPoint& below : curves[layer]) {
        if (quality >= below.kept - 1e-12)
          return *above.saved_s + (above.kept - quality) / (above.kept - below.kept) *
                                      (*below.saved_s - *above.saved_s);
        above = below;
      }
      return *above.saved_s;
    };
    double ours = 0, cost = 0, best = 0;
    for (std::size_t layer = 0; layer < 3; ++layer) {
      ours += saved_at(layer, (*kept)[layer]);
      cost += interpolated(curves[layer], (*kept)[layer]);
    }
    CHECK(cost <= budget + 1e-9);
    for (double a = curves[0].back().kept; a <= 1; a += 0.02)
      for (double b = curves[1].back().kept; b <= 1; b += 0.02)
        for (double c = curves[2].back().kept; c <= 1; c += 0.02)
          if (interpolated(curves[0], a) + interpolated(curves[1], b) +
                  interpolated(curves[2], c) <=
              budget)
            best = std::max(best, saved_at(0, a) + saved_at(1, b) + saved_at(2, c));
    // The hull bridges dents in these curves, of loss over time, by at most that much.
    CHECK(ours >= best * 0.97);
  }
}

TEST_CASE("allocate_increase: what is free is taken, what was not measured is left alone") {
  const std::vector<SensitivityCurve> curves{{{0.8, -0.1, 2.0}}, {{0.9, 0.2, 1.0}}, {}};
  CHECK(*allocate_increase(curves, 0) == std::vector<double>{0.8, 1, 1});
  const auto half = allocate_increase(curves, 0.1);
  REQUIRE(half);
  CHECK((*half)[1] == doctest::Approx(0.95));
  CHECK(*allocate_increase(curves, 9) == std::vector<double>{0.8, 0.9, 1});
  CHECK_FALSE(allocate_increase(curves, -1));
  const std::vector<SensitivityCurve> without{{{0.8, 0.1}}};
  CHECK(allocate_increase(without, 1).error().text.find("--scenario") != std::string::npos);
}

TEST_CASE("layer budgets: a file reads back as it was written") {
  const test::TempFolder folder;
  const LayerBudgets budgets{"abc", {0.25, 1.0}, {{{0.5, -0.01}, {0.25, 0.125, 0.5}}, {}}};
  REQUIRE(save_layer_budgets(folder / "b.json", budgets));
  const auto read = load_layer_budgets(folder / "b.json", "abc", 2);
  REQUIRE(read);
  CHECK(read->layers == budgets.layers);
  REQUIRE(read->curves.size() == 2);
  CHECK(read->curves[0][1].kept == 0.25);
  CHECK(read->curves[0][0].nll_increase == -0.01);
  CHECK_FALSE(read->curves[0][0].saved_s);
  CHECK(read->curves[0][1].saved_s == 0.5);
  CHECK(read->mean() == 0.625);

  const auto other = load_layer_budgets(folder / "b.json", "xyz", 2);
  REQUIRE_FALSE(other);
  CHECK(other.error().text.find("another model") != std::string::npos);
  const auto layers = load_layer_budgets(folder / "b.json", "abc", 3);
  REQUIRE_FALSE(layers);
  CHECK(layers.error().text.find("b.json: has 2 layers, the model 3") != std::string::npos);
  CHECK_FALSE(load_layer_budgets(folder / "none.json", "abc", 2));
}

TEST_CASE("layer budgets: what is wrong is named, whatever the bytes") {
  REQUIRE(parse_layer_budgets(kGood));
  struct Case {
    const char* text;
    const char* says;
  };
  const Case cases[] = {
      {"[]", "not a JSON object"},
      {"[[[[[[[[]]]]]]]]", "too deeply"},
      {R"({"model_id": "m", "layers": [1], "extra": 1})", "unknown key \"extra\""},
      {R"({"layers": [1]})", "\"model_id\" should be a string"},
      {R"({"model_id": "m"})", "\"layers\" should be a list"},
      {R"({"model_id": "m", "layers": []})", "\"layers\" should be a list"},
      {R"({"model_id": "m", "layers": [1.5]})", "layers[0] should be between 0 and 1"},
      {R"({"model_id": "m", "layers": [1, "a"]})", "layers[1] should be a number"},
      {R"({"model_id": "m", "layers": [1], "curves": []})", "one entry for each layer"},
      {R"({"model_id": "m", "layers": [1], "curves": [[{"kept": 2, "nll_increase": 0}]]})",
       "layer 0"},
      {R"({"model_id": "m", "layers": [1], "curves": [[{"kept": 1}]]})", "curves[0] should hold"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    const auto budgets = parse_layer_budgets(c.text);
    REQUIRE_FALSE(budgets);
    CHECK(budgets.error().text.find(c.says) != std::string::npos);
  }
  const std::string good = kGood;
  for (std::size_t length = 0; length < good.size(); ++length)
    CHECK_FALSE(parse_layer_budgets(good.substr(0, length)));
  for (std::size_t at = 0; at < good.size() * 8; ++at) {  // must not crash or hang
    std::string flipped = good;
    flipped[at / 8] = static_cast<char>(flipped[at / 8] ^ (1 << (at % 8)));
    (void)parse_layer_budgets(flipped);
  }
}
