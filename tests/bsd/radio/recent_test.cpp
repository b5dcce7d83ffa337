#include "bsd/radio/recent.h"

#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

using namespace wdmoe::radio;
using doctest::Approx;

TEST_CASE("recent median: noise averages out, and lone values far off do not count") {
  std::mt19937 random(1);
  std::normal_distribution<double> noise(0, 0.05);
  RecentMedian median(3);
  CHECK_FALSE(median.known());
  for (int i = 0; i < 300; ++i) {
    const double value = i % 5 == 0 ? 1e3 : 10 * (1 + noise(random));
    median.add(i * 0.02, value);
    if (i >= 10) CHECK(median.value() == Approx(10).epsilon(0.06));
  }
}

TEST_CASE("recent median: follows a step as soon as enough values agree, in both directions") {
  for (const double factor : {0.1, 10.0}) {
    CAPTURE(factor);
    RecentMedian median(3);
    for (int i = 0; i < 40; ++i) median.add(i * 0.02, 5);
    median.add(0.80, 5 * factor);
    median.add(0.82, 5 * factor);
    CHECK(median.value() == Approx(5));
    median.add(0.84, 5 * factor);
    CHECK(median.value() == Approx(5 * factor));
  }
}

TEST_CASE("recent median: a lower bound replaces what is below it and nothing else") {
  RecentMedian median(3);
  median.at_least(0, 4);
  CHECK(median.value() == 4);
  median.at_least(1, 3);
  CHECK(median.value() == 4);
  median.add(1, 8);
  median.add(1, 8);
  median.at_least(1, 7);
  CHECK(median.value() == 8);
}

TEST_CASE("recent median: old values give way to new ones, and stay where there are none") {
  RecentMedian median(5);
  for (int i = 0; i < 10; ++i) median.add(0, 1);
  CHECK(median.value() == 1);
  median.add(RecentMedian::kAge + 0.1, 1.2);  // alone it is no evidence
  CHECK(median.value() == 1);
  for (int i = 0; i < 4; ++i) median.add(RecentMedian::kAge + 0.2, 1.2);
  CHECK(median.value() == 1.2);
}

TEST_CASE("recent filters: nonsense is ignored") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  RecentMedian median(3);
  WindowedMin least;
  for (const double bad : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    median.add(0, bad);
    median.at_least(0, bad);
    least.add(0, bad);
  }
  median.add(nan, 1);
  least.add(1e300, 1);
  CHECK_FALSE(median.known());
  CHECK_FALSE(least.known());
}

TEST_CASE("windowed minimum: keeps the least, forgets it after the window, survives pauses") {
  WindowedMin least;
  least.add(100, 3);
  for (int i = 1; i < 90; ++i) {
    least.add(100 + i * 0.1, 5);
    CHECK(least.value() == 3);
  }
  for (int i = 0; i < 20; ++i) least.add(100 + WindowedMin::kWindow + i * 0.1, 5);
  CHECK(least.value() == 5);
  least.add(1e6, 9);  // a pause longer than any window
  CHECK(least.value() == 9);
  least.add(1e6 - 50, 8);  // an old sample that came late counts as new
  CHECK(least.value() == 8);
}
