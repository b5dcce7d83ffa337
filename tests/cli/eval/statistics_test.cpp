#include "cli/eval/statistics.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

using namespace wdmoe::cli::eval;

namespace {

/// P(X <= most) of a binomial, by summing logarithms: a slow twin of the library's.
double binomial_cdf(int most, int trials, double share) {
  double sum = 0;
  for (int k = 0; k <= most; ++k)
    sum +=
        std::exp(std::lgamma(trials + 1.0) - std::lgamma(k + 1.0) - std::lgamma(trials - k + 1.0) +
                 k * std::log(share) + (trials - k) * std::log1p(-share));
  return sum;
}

std::vector<unsigned char> ones_then_zeros(std::size_t ones, std::size_t zeros) {
  std::vector<unsigned char> values(ones, 1);
  values.resize(ones + zeros, 0);
  return values;
}

}  // namespace

TEST_CASE("binomial_interval: each end leaves 2.5 % of the other side's distribution") {
  for (const int right : {1, 37, 100, 158, 199}) {
    CAPTURE(right);
    const Interval interval = binomial_interval(static_cast<std::size_t>(right), 200);
    CHECK(binomial_cdf(right, 200, interval.high) == doctest::Approx(0.025).epsilon(1e-6));
    CHECK(1 - binomial_cdf(right - 1, 200, interval.low) == doctest::Approx(0.025).epsilon(1e-6));
  }
  CHECK(binomial_interval(200, 200).high == 1.0);
  CHECK(binomial_interval(200, 200).low == doctest::Approx(std::pow(0.025, 1 / 200.0)));
  CHECK(binomial_interval(0, 200).low == 0.0);
}

TEST_CASE("compare_shares: the exact McNemar test and its interval agree") {
  // 10 of 100 questions changed: 1 gained, 9 lost; p = 2 (1 + 10) / 2^10.
  std::vector<unsigned char> before = ones_then_zeros(50, 50), now = before;
  now[99] = 1;
  for (std::size_t i = 0; i < 9; ++i) now[i] = 0;
  const PairedShares one = compare_shares(before, now);
  CHECK(one.gained == 1);
  CHECK(one.lost == 9);
  CHECK(one.difference == doctest::Approx(-0.08));
  CHECK(one.p_value == doctest::Approx(22.0 / 1024));
  CHECK(one.interval.high < 0);
  CHECK(one.interval.low > -0.1);

  now[98] = now[97] = now[96] = 1;  // 4 gained, 9 lost: no evidence any more
  const PairedShares four = compare_shares(before, now);
  CHECK(four.p_value > 0.05);
  CHECK(four.interval.high > 0);

  const PairedShares same = compare_shares(before, before);
  CHECK(same.p_value == 1.0);
  CHECK(same.interval.low == 0);
  CHECK(same.interval.high == 0);
}

TEST_CASE("compare_losses: mean over tokens, Student's interval over windows") {
  const std::vector<double> before{10, 20, 30, 40}, now{11, 20, 32, 41};
  const std::vector<std::size_t> tokens{10, 10, 10, 10};
  const PairedMean change = compare_losses(before, now, tokens);
  CHECK(change.difference == doctest::Approx(0.1));
  REQUIRE(change.interval);
  // Differences per token 0.1, 0, 0.2, 0.1: standard deviation 0.081650, t(3) = 3.182446.
  const double reach = 3.182446 * 0.0816497 / 2;
  CHECK(change.interval->high == doctest::Approx(0.1 + reach).epsilon(1e-5));
  CHECK(change.interval->low == doctest::Approx(0.1 - reach).epsilon(1e-5));
  CHECK_FALSE(compare_losses({before.data(), 1}, {now.data(), 1}, {tokens.data(), 1}).interval);
}
