#include "bsd/radio/equalise.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "tests/bsd/radio/random_problem.h"

using namespace wdmoe::radio;

/// Devices whose links differ by up to 10^(2·decades) and whose loads and floors differ as wildly.
static std::vector<LoadedDevice> wild_devices(std::size_t count, double decades, Dice& dice) {
  std::vector<LoadedDevice> devices(count);
  double slowest = 0;
  for (LoadedDevice& k : devices) {
    k.dl_snr = dice.power_of_ten(-decades, decades);
    k.ul_snr = dice.power_of_ten(-decades, decades);
    const double load = dice.power_of_ten(-8, 8);
    k.dl_floor = load / k.dl_snr;
    k.ul_floor = load / k.ul_snr;
    k.gap = k.dl_floor + k.ul_floor + load * dice.power_of_ten(-15, 15);
    slowest = std::max(slowest, k.gap);
  }
  for (LoadedDevice& k : devices) k.gap = slowest - k.gap;
  return devices;
}

TEST_CASE("equalise: Newton's method converges everywhere in a few steps") {
  for (const double decades : {0.0, 3.0, 6.0, 12.0, 30.0}) {
    CAPTURE(decades);
    Dice dice(3);
    int most = 0, failures = 0;
    for (int i = 0; i < 4000; ++i) {
      auto devices = wild_devices(dice.count(1, 40), decades, dice);
      const Equalised separate = equalise_separate(devices);
      const Equalised common = equalise_common(devices);
      most = std::max({most, separate.iterations, common.iterations});
      failures += !separate.converged + !common.converged;
    }
    MESSAGE("decades ", decades, ": at most ", most, " steps");
    CHECK(failures == 0);
  }
}

TEST_CASE("equalise: the fast solver agrees with the nested searches") {
  Dice dice(4);
  double worst_common = 0, worst_separate = 0;
  for (int i = 0; i < 300; ++i) {
    auto fast = wild_devices(dice.count(1, 6), dice.between(0, 8), dice);
    auto slow = fast;
    equalise_common(fast);
    equalise_common_nested(slow);
    for (std::size_t k = 0; k < fast.size(); ++k)
      worst_common = std::max(worst_common, std::abs(fast[k].dl_share / slow[k].dl_share - 1));
    const Equalised quick = equalise_separate(fast);
    const Equalised sure = equalise_separate_nested(slow);
    CHECK(std::log(quick.price_ratio / sure.price_ratio) == doctest::Approx(0).epsilon(1e-8));
    for (std::size_t k = 0; k < fast.size(); ++k) {
      worst_separate = std::max(worst_separate, std::abs(fast[k].dl_share / slow[k].dl_share - 1));
      worst_separate = std::max(worst_separate, std::abs(fast[k].ul_share / slow[k].ul_share - 1));
    }
  }
  MESSAGE("worst relative difference of a share: common ", worst_common, ", separate ",
          worst_separate);
  CHECK(worst_common <= 1e-10);
  CHECK(worst_separate <= 1e-8);
}

TEST_CASE("equalise: balance solves its equation from one device to many") {
  Dice dice(5);
  for (int i = 0; i < 1000; ++i) {
    std::vector<LoadedDevice> devices(dice.count(1, 200));
    for (LoadedDevice& k : devices) {
      k.cost = dice.power_of_ten(-12, 12);
      k.gap = dice.power_of_ten(-12, 12);
    }
    devices[0].gap = 0;
    const double excess = balance(devices);
    double sum = 0;
    for (const LoadedDevice& k : devices) sum += k.cost / (excess + k.gap);
    CHECK(sum == doctest::Approx(1).epsilon(1e-12));
  }
}
