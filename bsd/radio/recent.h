#pragma once
// Filters of the estimator: a median that notices steps, and a minimum that forgets.  Pure values
// of fixed size; time comes in with the samples.

#include <array>
#include <cstddef>

namespace wdmoe::radio {

/// The median of recent positive values.  While they agree, many count and noise averages out; once
/// `agree` in a row lie on one side of it, each beyond the factor kStep, the world has changed:
/// only they count from there on.
class RecentMedian {
 public:
  static constexpr std::size_t kMost = 31;
  static constexpr double kStep = 1.3;
  static constexpr double kAge =
      2;  ///< s: older values count only where fewer than `agree` are newer

  /// `agree`: 1…kMost; few where values are good and news matters, more where some are far off.
  explicit RecentMedian(std::size_t agree) : agree_(agree) {}

  void add(double at_s, double value);           ///< value > 0, finite; else it is ignored
  void at_least(double at_s, double low_bound);  ///< forgets values if all of them were too low
  /// Forgets all others; counts as `agree` values, so that only as many change it.
  void set(double at_s, double value);
  bool known() const { return count_ > 0; }
  double value() const { return median_; }  ///< 0 while not known

 private:
  struct Sample {
    double at_s = 0, value = 0;
  };
  void hold(double at_s, double value, std::size_t times);
  void forget_before_step();
  void settle();

  std::size_t agree_;
  std::array<Sample, kMost> samples_{};  // oldest first
  std::size_t count_ = 0;
  double median_ = 0;
};

/// The least value of the last kWindow seconds, within a tenth of that.
class WindowedMin {
 public:
  static constexpr double kWindow = 10;  ///< s: a route that became longer is believed after this

  void add(double at_s, double value);  ///< value > 0, finite; else it is ignored
  bool known() const { return least_ > 0; }
  double value() const { return least_; }

 private:
  static constexpr std::size_t kSlots = 10;
  std::array<double, kSlots> slots_{};  // 0: empty
  long long newest_ = 0;                // number of the second-wide slot that is being filled
  double least_ = 0;
};

}  // namespace wdmoe::radio
