#pragma once
// The statistics of `wdmoe eval`; the distributions are Boost.Math's.

#include <cstddef>
#include <optional>

#include "common/span.h"

namespace wdmoe::cli::eval {

constexpr double kConfidence = 0.95;  ///< of every interval here

struct Interval {
  double low = 0, high = 0;
};

/// Clopper-Pearson (exact) interval of a share: `right` of `total`, total > 0.
Interval binomial_interval(std::size_t right, std::size_t total);

/// Two ways to answer the same questions, compared question by question.
struct PairedShares {
  std::size_t gained = 0, lost = 0;  ///< right only now, right only before
  double difference = 0;             ///< of the shares, now - before
  /// Clopper-Pearson interval of gained / (gained + lost), carried over to the difference; it holds
  /// 0 exactly when the exact McNemar test does not reject.
  Interval interval;
  double p_value = 1;  ///< exact McNemar test, two-sided
};
/// `before`, `now`: 1 where the question was answered right; equal sizes, not empty.
PairedShares compare_shares(Span<const unsigned char> before, Span<const unsigned char> now);

/// Mean of weighted per-window differences with Student's t interval over the windows; no interval
/// for a single window.  `total_*[w]`: summed loss of window w, `tokens[w]`: tokens in it.
struct PairedMean {
  double difference = 0;  ///< per token, now - before
  std::optional<Interval> interval;
};
PairedMean compare_losses(Span<const double> total_before, Span<const double> total_now,
                          Span<const std::size_t> tokens);

}  // namespace wdmoe::cli::eval
