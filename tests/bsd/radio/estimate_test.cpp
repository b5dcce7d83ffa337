#include "bsd/radio/estimate.h"

#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

using namespace wdmoe::radio;
using doctest::Approx;

namespace {

/// A device whose truth is known.
struct Truth {
  double link_s = 2e-3, link_per_row_s = 1e-4;
  double compute_s = 5e-4, compute_per_row_s = 2e-5;
  double queue_s = 1e-5;

  double total(double rows) const {
    return link_s + compute_s + queue_s + rows * (link_per_row_s + compute_per_row_s);
  }
  /// `jitter_s`: what stands in the way on the air.
  ExchangeSample sample(double at_s, std::size_t rows, double jitter_s = 0) const {
    const auto count = static_cast<double>(rows);
    ExchangeSample made;
    made.at_s = at_s;
    made.rows = rows;
    made.queue_s = queue_s;
    made.compute_s = compute_s + compute_per_row_s * count;
    made.round_trip_s = made.queue_s + made.compute_s + link_s + link_per_row_s * count + jitter_s;
    return made;
  }
};

double predicted(const DeviceEstimate& estimate, double rows) {
  return estimate.total().fixed_s + estimate.total().per_row_s * rows;
}

}  // namespace

TEST_CASE("estimate: exchanges of one size predict that size, and claim no rate") {
  const Truth truth;
  DeviceEstimate estimate;
  CHECK_FALSE(estimate.known());
  for (int i = 0; i < 200; ++i) estimate.add(truth.sample(i * 0.01, 1));
  CHECK(estimate.known());
  CHECK(predicted(estimate, 1) == Approx(truth.total(1)));
  CHECK(estimate.total().per_row_s == 0);
}

TEST_CASE("estimate: small and large exchanges together give fixed part and part per row") {
  const Truth truth;
  DeviceEstimate estimate;
  for (int i = 0; i < 200; ++i) estimate.add(truth.sample(i * 0.01, i % 4 == 0 ? 128 : 1));
  CHECK(estimate.link().per_row_s == Approx(truth.link_per_row_s).epsilon(1e-6));
  CHECK(estimate.link().fixed_s == Approx(truth.link_s).epsilon(1e-6));
  CHECK(estimate.compute().per_row_s == Approx(truth.compute_per_row_s).epsilon(1e-6));
  for (const double rows : {1.0, 30.0, 128.0, 512.0})
    CHECK(predicted(estimate, rows) == Approx(truth.total(rows)).epsilon(1e-6));
}

TEST_CASE("estimate: a few rows more or less are no evidence of a rate") {
  const Truth truth;
  std::mt19937 random(1);
  std::exponential_distribution<double> jitter(1 / 1e-3);
  DeviceEstimate estimate;
  for (int i = 0; i < 500; ++i)
    estimate.add(truth.sample(i * 0.01, 1 + random() % 3, jitter(random)));
  CHECK(estimate.link().per_row_s == 0);
}

TEST_CASE("estimate: what stands in the way now and then moves it little") {
  const Truth truth;
  std::mt19937 random(2);
  DeviceEstimate estimate;
  for (int i = 0; i < 400; ++i)  // a fifth of the answers are 50 ms late
    estimate.add(truth.sample(i * 0.01, i % 2 == 0 ? 64 : 1, random() % 5 == 0 ? 0.05 : 0));
  CHECK(predicted(estimate, 1) == Approx(truth.total(1)).epsilon(0.01));
  CHECK(predicted(estimate, 64) == Approx(truth.total(64)).epsilon(0.01));
}

TEST_CASE("estimate: forgets with time, and with every window of samples") {
  Truth truth;
  DeviceEstimate estimate;
  for (int i = 0; i < 100; ++i) estimate.add(truth.sample(i * 0.01, 1));
  truth.link_s = 20e-3;
  DeviceEstimate later = estimate;
  later.add(truth.sample(1 + DeviceEstimate::kForget, 1));  // the walk to another room
  for (int i = 0; i < 8; ++i) later.add(truth.sample(1.1 + DeviceEstimate::kForget, 1));
  CHECK(predicted(later, 1) == Approx(truth.total(1)));
  for (std::size_t i = 0; i < DeviceEstimate::kWindow; ++i) estimate.add(truth.sample(1, 1));
  CHECK(predicted(estimate, 1) == Approx(truth.total(1)));
}

TEST_CASE("estimate: nonsense is ignored, and nothing makes a prediction negative") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  DeviceEstimate estimate;
  estimate.add({0, 0, 1, 0, 0});
  estimate.add({0, 1, nan, 0, 0});
  estimate.add({0, 1, 1, -1, 0});
  estimate.add({nan, 1, 1, 0, 0});
  CHECK_FALSE(estimate.known());
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int i = 0; i < 5000; ++i) {
    estimate.add({i * 0.1, 1 + random() % 512, uniform(random), uniform(random), uniform(random)});
    for (const RowCost cost : {estimate.link(), estimate.compute(), estimate.total()}) {
      REQUIRE(cost.fixed_s >= 0);
      REQUIRE(cost.per_row_s >= 0);
    }
  }
}

TEST_CASE("estimate: a device nobody has heard of costs what the median device costs") {
  Estimates estimates;
  CHECK(estimates.view(3).fixed_s.empty());
  Truth fast, middle, slow;
  middle.link_s = 5e-3;
  slow.link_s = 50e-3;
  estimates.add(0, slow.sample(0, 1));
  estimates.add(2, middle.sample(0, 1));
  estimates.add(5, fast.sample(0, 1));
  const auto view = estimates.view(7);
  REQUIRE(view.fixed_s.size() == 7);
  REQUIRE(view.per_row_s.size() == 7);
  CHECK(view.fixed_s[0] == Approx(slow.total(1)));
  CHECK(view.fixed_s[5] == Approx(fast.total(1)));
  for (const std::size_t unknown : {1, 3, 4, 6})
    CHECK(view.fixed_s[unknown] == Approx(middle.total(1)));
  CHECK(estimates.view(2).fixed_s.size() == 2);  // those beyond the roster are left out
}
