#include "sim/airlink/histogram.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::airlink {
namespace {

constexpr double kLeast_ns = 1e3, kGrowth = 1.02;

}  // namespace

void Histogram::add(Nanoseconds duration) {
  const double steps =
      std::log(std::max(static_cast<double>(duration.count()), kLeast_ns) / kLeast_ns) /
      std::log(kGrowth);
  ++counts_[std::min(static_cast<std::size_t>(steps), kBuckets - 1)];
  ++count_;
  sum_ += duration;
  most_ = std::max(most_, duration);
}

Nanoseconds Histogram::mean() const {
  return count_ == 0 ? Nanoseconds(0) : sum_ / static_cast<std::int64_t>(count_);
}

Nanoseconds Histogram::quantile(double share) const {
  const double wanted = share * static_cast<double>(count_);
  std::uint64_t below = 0;
  for (std::size_t bucket = 0; bucket < kBuckets && count_ > 0; ++bucket) {
    below += counts_[bucket];
    if (counts_[bucket] == 0 || static_cast<double>(below) < wanted) continue;
    const double middle = kLeast_ns * std::pow(kGrowth, static_cast<double>(bucket) + 0.5);
    return std::min(most_, Nanoseconds(std::llround(middle)));
  }
  return most_;
}

}  // namespace wdmoe::airlink
