#include "sim/cell.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/radio/link.h"
#include "tests/sim/scenarios.h"

using namespace wdmoe;
using sim::Cell;
using test::scenario_of;

namespace {

/// Fading powers |h|² of the downlink, `count` of them, `step` apart, of one device at 100 m.
std::vector<double> powers(const std::string& channel, Seconds step, std::size_t count) {
  Cell cell(scenario_of(channel + "\n[[device]]\ndistance_m = 100\n"), 7);
  const double path = radio::path_gain(Hertz(3.5e9), Metres(100));
  std::vector<double> powers;
  for (std::size_t draw = 0; draw < count; ++draw, cell.advance(step))
    powers.push_back(cell.demands()[0].gain_dl / path);
  return powers;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// Largest distance between the empirical distribution and `cdf` (Kolmogorov-Smirnov).
template <class Cdf>
double distance_to(std::vector<double> values, Cdf cdf) {
  std::sort(values.begin(), values.end());
  double worst = 0;
  const auto count = static_cast<double>(values.size());
  for (std::size_t index = 0; index < values.size(); ++index) {
    const double below = static_cast<double>(index) / count;
    worst = std::max({worst, std::abs(cdf(values[index]) - below),
                      std::abs(cdf(values[index]) - below - 1 / count)});
  }
  return worst;
}

double autocorrelation(const std::vector<double>& values, std::size_t lag) {
  const double mean = mean_of(values);
  double product = 0, square = 0;
  for (std::size_t index = 0; index + lag < values.size(); ++index)
    product += (values[index] - mean) * (values[index + lag] - mean);
  for (const double value : values) square += (value - mean) * (value - mean);
  return product / square;
}

}  // namespace

TEST_CASE("cell: without fading the gain is the path loss") {
  for (const double power : powers("[channel]\nfading = \"none\"", Seconds(1), 3))
    CHECK(power == doctest::Approx(1).epsilon(1e-12));
}

TEST_CASE("cell: Rayleigh fading has mean power 1 and an exponential distribution") {
  // Steps of ten coherence times: draws are independent (correlation e^-20 of the powers).
  constexpr std::size_t kDraws = 20000;
  const auto draws = powers("[channel]\ncoherence_s = 0.1", Seconds(1), kDraws);
  // Standard deviation 1: five standard errors of the mean.
  CHECK(std::abs(mean_of(draws) - 1) < 5 / std::sqrt(double{kDraws}));
  // Kolmogorov-Smirnov at 1e-6: sqrt(ln(2e6) / 2n).
  const double bound = std::sqrt(std::log(2e6) / (2 * double{kDraws}));
  CHECK(distance_to(draws, [](double power) { return 1 - std::exp(-power); }) < bound);
  // And the test can fail: Rician draws are no exponential ones.
  const auto rician = powers("[channel]\nfading = \"rician\"", Seconds(1), kDraws);
  CHECK(distance_to(rician, [](double power) { return 1 - std::exp(-power); }) > bound);
}

TEST_CASE("cell: no fade is deeper than the deepest") {
  const auto draws = powers("[channel]\ndeepest_fade_db = -10", Seconds(1), 5000);
  CHECK(*std::min_element(draws.begin(), draws.end()) == doctest::Approx(0.1).epsilon(1e-12));
}

TEST_CASE("cell: Rician fading has mean power 1 and the variance of its K") {
  constexpr std::size_t kDraws = 20000;
  const auto draws = powers("[channel]\nfading = \"rician\"\nrician_k_db = 6", Seconds(1), kDraws);
  const double k = std::pow(10, 0.6), variance = (2 * k + 1) / ((k + 1) * (k + 1));
  CHECK(std::abs(mean_of(draws) - 1) < 5 * std::sqrt(variance / kDraws));
  double square = 0;
  for (const double power : draws) square += (power - 1) * (power - 1) / double{kDraws};
  // Kurtosis of |h|² is below the exponential's 9: standard error < variance·sqrt(8/n).
  CHECK(std::abs(square - variance) < 5 * variance * std::sqrt(8 / double{kDraws}));
}

TEST_CASE("cell: fading decorrelates by 1/e per coherence time, whatever the step") {
  // |h|² of a Gauss-Markov h correlates as rho² = exp(-2Δ/coherence).
  constexpr std::size_t kDraws = 100000;
  const auto fine = powers("[channel]\ncoherence_s = 0.1", Seconds(0.01), kDraws);
  // Effective independent draws: n·(1-rho²)/(1+rho²), a tenth of n; five standard errors.
  const double bound = 5 / std::sqrt(kDraws * std::tanh(0.1));
  for (const std::size_t lag : {1, 5, 10, 20}) {
    CAPTURE(lag);
    CHECK(std::abs(autocorrelation(fine, lag) - std::exp(-0.2 * static_cast<double>(lag))) < bound);
  }
  const auto coarse = powers("[channel]\ncoherence_s = 0.1", Seconds(0.05), kDraws);
  CHECK(std::abs(autocorrelation(coarse, 1) - std::exp(-1)) < bound);
}

TEST_CASE("cell: both directions fade alike on one channel, apart in two bands") {
  for (const bool airtime : {false, true}) {
    Cell cell(scenario_of(std::string("[cell]\nmedium = \"") +
                          (airtime ? "airtime" : "fdma_common") + "\"\n[devices]\ncount = 4\n"),
              1);
    for (const radio::DeviceDemand& demand : cell.demands())
      CHECK((demand.gain_dl == demand.gain_ul) == airtime);
  }
}

TEST_CASE("cell: compute time has the mean and the spread that were asked for") {
  Cell cell(scenario_of("[[device]]\ncompute_flops = 2e12\njitter = 0.3\n"), 3);
  const double plain = 352565248.0 / 2e12;
  constexpr std::size_t kDraws = 20000;
  double sum = 0, square = 0;
  for (std::size_t draw = 0; draw < kDraws; ++draw, cell.advance(Seconds(0.1))) {
    const double factor = cell.demands()[0].compute_per_token.count() / plain;
    sum += factor / kDraws;
    square += (factor - 1) * (factor - 1) / kDraws;
  }
  CHECK(std::abs(sum - 1) < 5 * 0.3 / std::sqrt(double{kDraws}));
  // Log-normal of this spread: kurtosis below 5, so the variance's standard error < 2·0.09/sqrt(n).
  CHECK(std::abs(square - 0.09) < 5 * 0.18 / std::sqrt(double{kDraws}));
}

TEST_CASE("cell: walkers stay in their disc, at their speed, and see all of it") {
  Cell cell(
      scenario_of("[mobility]\nmodel = \"random_waypoint\"\nspeed_m_per_s = 10\nradius_m = 200\n"
                  "[[device]]\ndistance_m = 150\n"),
      1);
  CHECK(cell.distance_m(0) == doctest::Approx(150));
  double nearest = 1e9, farthest = 0;
  for (int step = 0; step < 20000; ++step) {
    const double before = cell.distance_m(0);
    cell.advance(Seconds(1));
    const double now = cell.distance_m(0);
    CHECK(std::abs(now - before) <= 10 + 1e-9);
    nearest = std::min(nearest, now);
    farthest = std::max(farthest, now);
  }
  CHECK(farthest <= 200);
  CHECK(farthest > 180);
  CHECK(nearest < 20);
  cell.advance(Seconds(1e6));  // far beyond any number of legs: still in the disc, and soon
  CHECK(cell.distance_m(0) <= 200);
}

TEST_CASE("cell: equal seeds make equal cells, other seeds others") {
  const auto scenario = scenario_of("[devices]\ncount = 5\njitter = 0.1\n");
  Cell a(scenario, 4), b(scenario, 4), c(scenario, 5);
  for (int step = 0; step < 10; ++step) {
    for (std::size_t device = 0; device < 5; ++device) {
      CHECK(a.demands()[device].gain_ul == b.demands()[device].gain_ul);
      CHECK(a.demands()[device].compute_per_token == b.demands()[device].compute_per_token);
      CHECK(a.demands()[device].gain_ul != c.demands()[device].gain_ul);
    }
    for (Cell* cell : {&a, &b, &c}) cell->advance(Seconds(0.02));
  }
}
