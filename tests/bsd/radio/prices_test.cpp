// Row prices against finite differences of the exact allocator.
#include "bsd/radio/prices.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "tests/bsd/radio/random_problem.h"

using namespace wdmoe;
using namespace wdmoe::radio;

namespace {
constexpr Medium kMedia[] = {Medium::fdma_separate, Medium::fdma_common, Medium::airtime};
}

TEST_CASE("row prices: the derivative of the optimal latency, by central differences") {
  Dice dice(11);
  double worst = 0;
  for (const Medium medium : kMedia) {
    for (int repetition = 0; repetition < 200; ++repetition) {
      OwnedProblem owned;
      fill_randomly(owned, medium, dice.count(1, 9), 6, dice);
      Allocator allocator;
      std::vector<Seconds> prices(owned.devices.size());
      row_prices(owned.problem, *allocator.solve(owned.problem), prices);
      const std::size_t device = dice.count(0, owned.devices.size() - 1);
      double& tokens = owned.devices[device].tokens;
      if (!(tokens > 0)) continue;
      // The optimum is good to 1e-12 or so and smooth on a scale of 1: the error of the difference
      // is about 1e-12/h + h², least near h = 1e-4.
      constexpr double kStep = 1e-4;
      const double middle = tokens;
      tokens = middle * (1 + kStep);
      const double above = allocator.solve(owned.problem)->waiting_latency.count();
      tokens = middle * (1 - kStep);
      const double below = allocator.solve(owned.problem)->waiting_latency.count();
      const double slope = (above - below) / (2 * kStep);  // per relative change of the load
      const double error = std::abs(prices[device].count() * middle - slope) / above;
      worst = std::max(worst, error);
    }
  }
  MESSAGE("worst error relative to T: ", worst);
  CHECK(worst < 1e-6);
}

TEST_CASE("row prices: entry costs what admitting one row to a busy cell does") {
  Dice dice(12);
  for (const Medium medium : kMedia) {
    for (int repetition = 0; repetition < 100; ++repetition) {
      OwnedProblem owned;
      fill_randomly(owned, medium, 8, 2, dice);
      for (DeviceDemand& device : owned.devices) {
        device.tokens = 300;  // so that one row more is a small change
        device.compute_per_token = Seconds(1e-7);
      }
      owned.devices[5].tokens = 0;
      Allocator allocator;
      std::vector<Seconds> prices(8);
      const auto before = allocator.solve(owned.problem);
      const double waited = before->waiting_latency.count();
      row_prices(owned.problem, *before, prices);
      owned.devices[5].tokens = 1;
      const double more = allocator.solve(owned.problem)->waiting_latency.count() - waited;
      CHECK(prices[5].count() == doctest::Approx(more).epsilon(0.02));
    }
  }
}

TEST_CASE("row prices: defined at the edges") {
  OwnedProblem owned;
  Dice dice(13);
  fill_randomly(owned, Medium::fdma_common, 3, 1, dice);
  for (DeviceDemand& device : owned.devices) device.tokens = 0;
  owned.devices[1].gain_ul = 0;
  Allocator allocator;
  std::vector<Seconds> prices(3);
  row_prices(owned.problem, *allocator.solve(owned.problem), prices);
  CHECK(prices[0].count() == 0);  // an idle cell has band to give away
  CHECK(std::isinf(prices[1].count()));

  owned.devices[0].tokens = 5;
  owned.devices[2].fixed = Seconds(1e3);  // cannot be done by T
  row_prices(owned.problem, *allocator.solve(owned.problem), prices);
  CHECK(std::isinf(prices[1].count()));
  CHECK(std::isfinite(prices[2].count()));
  CHECK(prices[2].count() > 0);
}
