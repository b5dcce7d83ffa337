#pragma once
// A distribution of durations in bounded memory, for reports.

#include <array>
#include <cstddef>
#include <cstdint>

#include "common/clock.h"

namespace wdmoe::airlink {

/// Counts in buckets 2 % apart, from 1 microsecond to 1000 s; what lies outside counts in the last
/// bucket of its side.
class Histogram {
 public:
  void add(Nanoseconds duration);
  std::uint64_t count() const { return count_; }
  Nanoseconds mean() const;  ///< exact; 0 if empty
  Nanoseconds most() const { return most_; }
  /// The least duration that `share` (0…1) of all do not exceed, to 1 %; 0 if empty.
  Nanoseconds quantile(double share) const;

 private:
  static constexpr std::size_t kBuckets = 1048;  // ln(1e9) / ln(1.02), rounded up, and one
  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t count_ = 0;
  Nanoseconds sum_{0}, most_{0};
};

}  // namespace wdmoe::airlink
