// Row prices against finite differences of the exact allocator.
#include "bsd/radio/prices.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "tests/bsd/radio/random_problem.h"

using namespace wdmoe;
using namespace wdmoe::radio;

namespace {

/// dT per relative change of `value` (a part of the problem), by central differences.  The optimum
/// is good to 5e-12 (docs/allocation.md) and smooth on a scale of 1, its third derivative in the
/// hundreds where compute leaves little time: the error is about 5e-12/h + 100·h², both below 1e-6
/// at h = 1e-5.
template <class Value>
double relative_slope(const AllocationProblem& problem, Value& value) {
  constexpr double kStep = 1e-5;
  Allocator allocator;
  const Value middle = value;
  value = middle * (1 + kStep);
  const Seconds above = allocator.solve(problem)->waiting_latency;
  value = middle * (1 - kStep);
  const Seconds below = allocator.solve(problem)->waiting_latency;
  value = middle;
  return (above - below).count() / (2 * kStep);
}

}  // namespace

TEST_CASE("row prices: the derivatives of the optimal latency, by central differences") {
  Dice dice(11);
  double worst = 0;
  for (const Medium medium : kMedia) {
    for (int repetition = 0; repetition < 200; ++repetition) {
      OwnedProblem owned;
      fill_randomly(owned, medium, dice.count(1, 9), 6, dice);
      Allocator allocator;
      std::vector<RowPrice> prices(owned.devices.size());
      const auto solved = allocator.solve(owned.problem);
      const double waited = solved->waiting_latency.count();
      row_prices(owned.problem, *solved, prices);
      double sum = 0;
      for (std::size_t k = 0; k < prices.size(); ++k) {
        DeviceDemand& device = owned.devices[k];
        if (!(device.tokens > 0)) continue;
        const double compute = prices[k].multiplier * device.compute_per_token.count();
        const double rows = device.tokens * (prices[k].link.count() + compute);
        const double fixed = prices[k].multiplier * device.fixed.count();
        sum += rows + fixed;
        const double errors[] = {
            relative_slope(owned.problem, device.tokens) - rows,
            relative_slope(owned.problem, device.compute_per_token) - device.tokens * compute,
            relative_slope(owned.problem, device.fixed) - fixed};
        for (const double error : errors) worst = std::max(worst, std::abs(error) / waited);
      }
      CHECK(sum == doctest::Approx(waited).epsilon(1e-9));
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
      std::vector<RowPrice> prices(8);
      const auto before = allocator.solve(owned.problem);
      const double waited = before->waiting_latency.count();
      row_prices(owned.problem, *before, prices);
      owned.devices[5].tokens = 1;
      const double more = allocator.solve(owned.problem)->waiting_latency.count() - waited;
      const double visit = prices[5].multiplier * owned.devices[5].compute_per_token.count();
      CHECK(prices[5].link.count() + visit == doctest::Approx(more).epsilon(0.02));
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
  std::vector<RowPrice> prices(3);
  row_prices(owned.problem, *allocator.solve(owned.problem), prices);
  CHECK(prices[0].link.count() == 0);  // an idle cell has band to give away
  CHECK(std::isinf(prices[1].link.count()));

  owned.devices[0].tokens = 5;
  owned.devices[2].fixed = Seconds(1e3);  // cannot be done by T
  row_prices(owned.problem, *allocator.solve(owned.problem), prices);
  CHECK(std::isinf(prices[1].link.count()));
  CHECK(std::isfinite(prices[2].link.count()));
  CHECK(prices[2].link.count() > 0);
}
