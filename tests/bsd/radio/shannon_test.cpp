#include "bsd/radio/shannon.h"

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

using namespace wdmoe::radio;

TEST_CASE("shannon: logarithm and its rest agree with long double over 300 decades") {
  double worst = 0;
  for (double exponent = -140; exponent <= 140; exponent += 0.0371) {
    const double y = std::pow(10, exponent);
    const LogTerms terms = log_terms(y);
    const auto exact = std::log1p(static_cast<long double>(y));
    // y - ln(1+y): below 1e-3 long double cancels too, the alternating series does not.
    const auto wide = static_cast<long double>(y);
    long double rest = wide - exact;
    if (y < 1e-3) {
      rest = 0;
      for (int n = 12; n >= 2; --n) rest = (n % 2 == 0 ? 1.0L : -1.0L) / n + wide * rest;
      rest *= wide * wide;
    }
    worst = std::max(worst, static_cast<double>(std::abs(terms.log / exact - 1)));
    worst = std::max(worst, static_cast<double>(std::abs(terms.rest / rest - 1)));
  }
  MESSAGE("worst relative error ", worst);
  // Above sqrt(2)-1 `rest` is a difference of numbers at most 6.1 times its size: 6.1 · 2 half-ulps
  // of ln and the rounding of 1+y; 2^-53 · 6.1 · 3 = 2.0e-15.
  CHECK(worst <= 2.0e-15);
}

TEST_CASE("shannon: slopes are the derivatives and stay within the bounds Newton relies on") {
  double least_excess = 2, most_excess = 0, least_price = 9, most_price = 0;
  for (double exponent = -60; exponent <= 60; exponent += 0.0173) {
    const double y = std::pow(10, exponent), h = 1e-5;
    const SnrTerms terms = snr_terms(y), above = snr_terms(y * (1 + h)),
                   below = snr_terms(y / (1 + h));
    const double width = 2 * std::log1p(h);
    CAPTURE(y);
    // Central differences: error about h² + epsilon/h.
    CHECK(std::log(above.excess / below.excess) / width ==
          doctest::Approx(terms.excess_slope).epsilon(1e-9));
    CHECK(std::log(above.price / below.price) / width ==
          doctest::Approx(terms.price_slope).epsilon(1e-9));
    least_excess = std::min(least_excess, terms.excess_slope);
    most_excess = std::max(most_excess, terms.excess_slope);
    least_price = std::min(least_price, terms.price_slope);
    most_price = std::max(most_price, terms.price_slope);
  }
  MESSAGE("excess slopes ", least_excess, " to ", most_excess, ", price slopes ", least_price,
          " to ", most_price);
  CHECK(least_excess >= 0.81);
  CHECK(most_excess <= 1 + 1e-15);
  CHECK(least_price >= 1.79);
  CHECK(most_price <= 2 + 1e-15);
}
