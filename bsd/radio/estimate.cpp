#include "bsd/radio/estimate.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::radio {
namespace {

// Of the exchanges with the fewest rows: low enough to leave out retransmissions and contention,
// high enough that one lucky answer does not set it.
constexpr double kLow = 0.25;
// "Many more rows": at least this factor and this many beyond the fewest.
constexpr std::size_t kManyTimes = 4, kManyRows = 8;
// A fit takes about a microsecond, and a device answers several hundred times a second: after the
// first few samples, one fit for every few of them.
constexpr std::size_t kEager = 16, kEvery = 8;

/// The value below which `share` of `values` lies (nearest rank); `values` not empty, reordered.
double quantile(std::vector<double>& values, double share) {
  const auto rank = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return values[static_cast<std::size_t>(rank)];
}

bool is_sound(const ExchangeSample& s) {
  const auto sound = [](double value) { return std::isfinite(value) && value >= 0; };
  return s.rows > 0 && sound(s.round_trip_s) && sound(s.queue_s) && sound(s.compute_s) &&
         std::isfinite(s.at_s);
}

/// Fits `seconds_of` each sample; see DeviceEstimate.
template <class SecondsOf>
RowCost fit(const std::vector<const ExchangeSample*>& samples, double share,
            std::vector<double>& values, const SecondsOf& seconds_of) {
  const std::size_t fewest =
      (*std::min_element(samples.begin(), samples.end(), [](const auto* a, const auto* b) {
        return a->rows < b->rows;
      }))->rows;
  const auto is_large = [fewest](const ExchangeSample& s) {
    return s.rows >= kManyTimes * fewest && s.rows >= fewest + kManyRows;
  };
  values.clear();
  double rows = 0;
  for (const ExchangeSample* sample : samples) {
    if (is_large(*sample)) continue;
    values.push_back(seconds_of(*sample));
    rows += static_cast<double>(sample->rows);
  }
  rows /= static_cast<double>(values.size());
  const double anchor = quantile(values, share);  // of `rows` rows
  values.clear();
  for (const ExchangeSample* sample : samples)
    if (is_large(*sample))
      values.push_back((seconds_of(*sample) - anchor) / (static_cast<double>(sample->rows) - rows));
  RowCost cost;
  if (!values.empty()) cost.per_row_s = std::max(0.0, quantile(values, 0.5));
  // The few rows of the anchor have their share in it; a steep slope must not make it negative.
  cost.per_row_s = std::min(cost.per_row_s, anchor / rows);
  cost.fixed_s = std::max(0.0, anchor - cost.per_row_s * rows);
  return cost;
}

}  // namespace

void DeviceEstimate::add(const ExchangeSample& sample) {
  if (!is_sound(sample)) return;
  if (samples_.size() < kWindow) {
    samples_.reserve(kWindow);
    recent_.reserve(kWindow);
    values_.reserve(kWindow);
    samples_.push_back(sample);
  } else {
    samples_[next_] = sample;
  }
  next_ = (next_ + 1) % kWindow;
  if (samples_.size() < kEager || ++unlearned_ == kEvery) learn(sample.at_s);
}

void DeviceEstimate::learn(double now_s) {
  unlearned_ = 0;
  recent_.clear();
  values_.clear();
  for (const ExchangeSample& sample : samples_) {
    if (now_s - sample.at_s > kForget) continue;
    recent_.push_back(&sample);
    values_.push_back(sample.queue_s);
  }
  queue_s_ = quantile(values_, 0.5);
  link_ = fit(recent_, kLow, values_, [](const ExchangeSample& s) {
    return std::max(0.0, s.round_trip_s - s.queue_s - s.compute_s);
  });
  compute_ = fit(recent_, 0.5, values_, [](const ExchangeSample& s) { return s.compute_s; });
}

void Estimates::add(std::size_t device, const ExchangeSample& sample) {
  if (device >= devices_.size()) devices_.resize(device + 1);
  devices_[device].add(sample);
}

Estimates::View Estimates::view(std::size_t devices) {
  fixed_.resize(devices);
  per_row_.resize(devices);
  const auto known = [this](std::size_t device) {
    return device < devices_.size() && devices_[device].known();
  };
  const auto fill = [&](std::vector<double>& out, double RowCost::*part) {
    known_.clear();
    for (std::size_t device = 0; device < devices; ++device)
      if (known(device)) known_.push_back(devices_[device].total().*part);
    if (known_.empty()) return false;
    const double neutral = quantile(known_, 0.5);
    for (std::size_t device = 0; device < devices; ++device)
      out[device] = known(device) ? devices_[device].total().*part : neutral;
    return true;
  };
  if (!fill(fixed_, &RowCost::fixed_s) || !fill(per_row_, &RowCost::per_row_s)) return {};
  return {{fixed_.data(), devices}, {per_row_.data(), devices}};
}

}  // namespace wdmoe::radio
