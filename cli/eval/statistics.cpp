#include "cli/eval/statistics.h"

#include <algorithm>
#include <cmath>

#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>

#include "common/check.h"

namespace wdmoe::cli::eval {
namespace {

using Binomial = boost::math::binomial_distribution<double>;

constexpr double kTail = (1 - kConfidence) / 2;

}  // namespace

Interval binomial_interval(std::size_t right, std::size_t total) {
  WDMOE_CHECK(total > 0 && right <= total);
  const auto trials = static_cast<double>(total), successes = static_cast<double>(right);
  return {Binomial::find_lower_bound_on_p(trials, successes, kTail),
          Binomial::find_upper_bound_on_p(trials, successes, kTail)};
}

PairedShares compare_shares(Span<const unsigned char> before, Span<const unsigned char> now) {
  WDMOE_CHECK(before.size() == now.size() && !before.empty());
  PairedShares result;
  for (std::size_t i = 0; i < now.size(); ++i) {
    result.gained += now[i] != 0 && before[i] == 0;
    result.lost += now[i] == 0 && before[i] != 0;
  }
  const std::size_t changed = result.gained + result.lost;
  if (changed == 0) return result;
  const double share = static_cast<double>(changed) / static_cast<double>(now.size());
  const Interval gained = binomial_interval(result.gained, changed);
  result.difference = (static_cast<double>(result.gained) - static_cast<double>(result.lost)) /
                      static_cast<double>(now.size());
  result.interval = {share * (2 * gained.low - 1), share * (2 * gained.high - 1)};
  const Binomial fair(static_cast<double>(changed), 0.5);
  const auto fewer = static_cast<double>(std::min(result.gained, result.lost));
  result.p_value = std::min(1.0, 2 * boost::math::cdf(fair, fewer));
  return result;
}

PairedMean compare_losses(Span<const double> total_before, Span<const double> total_now,
                          Span<const std::size_t> tokens) {
  WDMOE_CHECK(total_before.size() == total_now.size() && total_now.size() == tokens.size());
  WDMOE_CHECK(!tokens.empty());
  double difference = 0, all = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    difference += total_now[i] - total_before[i];
    all += static_cast<double>(tokens[i]);
  }
  PairedMean result{difference / all, {}};
  const auto windows = static_cast<double>(tokens.size());
  if (tokens.size() < 2) return result;
  double squares = 0;  // of the ratio estimator's residuals
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const double residual =
        total_now[i] - total_before[i] - result.difference * static_cast<double>(tokens[i]);
    squares += residual * residual;
  }
  const double error = std::sqrt(squares * windows / (windows - 1)) / all;
  const boost::math::students_t_distribution<double> student(windows - 1);
  const double reach = boost::math::quantile(student, 1 - kTail) * error;
  result.interval = {result.difference - reach, result.difference + reach};
  return result;
}

}  // namespace wdmoe::cli::eval
