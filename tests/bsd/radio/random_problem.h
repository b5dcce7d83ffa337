#pragma once
// Seeded allocation problems for property tests.

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

#include "bsd/radio/allocate.h"
#include "bsd/radio/link.h"

namespace wdmoe::radio {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr Medium kMedia[] = {Medium::fdma_separate, Medium::fdma_common, Medium::airtime};

/// A problem that owns its devices.
struct OwnedProblem {
  std::vector<DeviceDemand> devices;
  AllocationProblem problem;
  OwnedProblem() = default;
  OwnedProblem(const OwnedProblem&) = delete;  // problem.devices points into devices
  OwnedProblem& operator=(const OwnedProblem&) = delete;
};

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  double between(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine_);
  }
  double power_of_ten(double low, double high) { return std::pow(10, between(low, high)); }
  std::size_t count(std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(engine_);
  }

 private:
  std::mt19937_64 engine_;
};

/// Gains over `decades` powers of ten around the paper's cell, one device in eight idle.
inline void fill_randomly(OwnedProblem& out, Medium medium, std::size_t devices, double decades,
                          Dice& dice) {
  out.devices.clear();
  for (std::size_t device = 0; device < devices; ++device) {
    DeviceDemand demand;
    const bool idle = devices > 1 && device > 0 && dice.count(1, 8) == 1;
    demand.tokens = idle ? 0 : std::floor(dice.power_of_ten(0, 3));
    demand.power_dl = Watts(10);
    demand.power_ul = Watts(0.2);
    demand.gain_dl = dice.power_of_ten(-11 - decades / 2, -11 + decades / 2);
    demand.gain_ul = dice.power_of_ten(-11 - decades / 2, -11 + decades / 2);
    demand.compute_per_token = Seconds(dice.power_of_ten(-7, -1));
    demand.fixed = Seconds(dice.count(0, 3) == 0 ? dice.power_of_ten(-3, -2) : 0);
    out.devices.push_back(demand);
  }
  out.problem = {medium, Hertz(100e6), kThermalNoise, Bits(16 * 4096), out.devices};
}

}  // namespace wdmoe::radio
