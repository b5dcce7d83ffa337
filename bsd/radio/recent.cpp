#include "bsd/radio/recent.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::radio {
namespace {

bool is_sound(double at_s, double value) {
  return std::abs(at_s) < 1e12 && std::isfinite(value) && value > 0;  // false for NaN
}

}  // namespace

void RecentMedian::add(double at_s, double value) {
  if (!is_sound(at_s, value)) return;
  const auto begin = samples_.begin();
  std::size_t old = count_ == kMost ? 1 : 0;
  while (old + agree_ <= count_ && at_s - samples_[old].at_s > kAge) ++old;
  std::copy(begin + static_cast<std::ptrdiff_t>(old), begin + static_cast<std::ptrdiff_t>(count_),
            begin);
  count_ -= old;
  samples_[count_++] = {at_s, value};
  forget_before_step();
  settle();
}

void RecentMedian::at_least(double at_s, double low_bound) {
  if (low_bound > median_) hold(at_s, low_bound, 1);
}

void RecentMedian::set(double at_s, double value) {
  hold(at_s, value, agree_);
}

void RecentMedian::hold(double at_s, double value, std::size_t times) {
  if (!is_sound(at_s, value)) return;
  std::fill_n(samples_.begin(), times, Sample{at_s, value});
  count_ = times;
  median_ = value;
}

void RecentMedian::forget_before_step() {
  if (count_ <= agree_ || median_ <= 0) return;
  const auto newest = samples_.begin() + static_cast<std::ptrdiff_t>(count_ - agree_);
  const auto end = samples_.begin() + static_cast<std::ptrdiff_t>(count_);
  const bool rose =
      std::all_of(newest, end, [this](const Sample& s) { return s.value > median_ * kStep; });
  const bool fell =
      std::all_of(newest, end, [this](const Sample& s) { return s.value < median_ / kStep; });
  if (!rose && !fell) return;
  std::copy(newest, end, samples_.begin());
  count_ = agree_;
}

void RecentMedian::settle() {
  std::array<double, kMost> values{};
  for (std::size_t i = 0; i < count_; ++i) values[i] = samples_[i].value;
  const auto end = values.begin() + static_cast<std::ptrdiff_t>(count_);
  std::sort(values.begin(), end);
  median_ = (values[(count_ - 1) / 2] + values[count_ / 2]) / 2;
}

void WindowedMin::add(double at_s, double value) {
  if (!is_sound(at_s, value)) return;
  const auto now = static_cast<long long>(std::floor(at_s * (kSlots / kWindow)));
  const auto place = [this](long long number) -> double& {
    constexpr auto size = static_cast<long long>(kSlots);
    return slots_[static_cast<std::size_t>((number % size + size) % size)];
  };
  if (!known() || now - newest_ >= static_cast<long long>(kSlots)) {
    slots_.fill(0);
    newest_ = now;
  }
  while (newest_ < now) place(++newest_) = 0;
  double& mine = place(newest_);
  mine = mine > 0 ? std::min(mine, value) : value;
  least_ = value;
  for (const double one : slots_)
    if (one > 0) least_ = std::min(least_, one);
}

}  // namespace wdmoe::radio
