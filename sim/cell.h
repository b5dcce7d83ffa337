#pragma once
// The made-up cell as it changes with time: where devices are, what their links carry, how fast
// they compute.  One exchange of a layer sees it frozen; between exchanges it advances.

#include <complex>
#include <cstdint>
#include <random>
#include <vector>

#include "bsd/radio/allocate.h"
#include "sim/scenario.h"

namespace wdmoe::sim {

/// Gain of device k, each way: path_gain(distance) · |h|², with E|h|² = 1 and
///     h = sqrt(K/(K+1)) + sqrt(1/(K+1))·s,   s complex normal,    K = 0 for Rayleigh
///     s(t + Δ) = ρ·s(t) + sqrt(1 - ρ²)·n,    ρ = exp(-Δ/coherence)     (Gauss-Markov)
/// Under Rayleigh fading 1/rate has no finite mean: rare fades, frozen for a whole exchange, would
/// rule every average.  Real links ride them out, so |h|² counts as deepest_fade_db at least.
/// Directions fade apart in FDMA (two bands) and alike in the airtime model (one channel).
/// Compute time of device k: L_comp / C_k · j, j log-normal of mean 1 and the scenario's
/// coefficient of variation, drawn anew for each exchange.
class Cell {
 public:
  Cell(const Scenario& scenario, std::uint64_t seed);

  /// [devices] as they are now; `tokens` is 0.  Lives until the next advance().
  Span<const radio::DeviceDemand> demands() const { return demands_; }
  double distance_m(std::size_t device) const { return std::abs(places_[device].at); }

  void advance(Seconds elapsed);

 private:
  struct Place {
    std::complex<double> at, target;  ///< metres, the base station in the origin
  };
  struct Fade {
    std::complex<double> down, up;  ///< s of the two directions
  };
  std::complex<double> scatter();
  std::complex<double> waypoint();
  void walk(Place& place, double metres);
  void refresh(std::size_t device);

  ChannelSpec channel_;
  MobilitySpec mobility_;
  Hertz carrier_;
  Watts bs_power_;
  Seconds round_trip_;
  Flops work_;
  bool one_channel_;   // both directions fade alike
  double direct_ = 0;  // amplitude of the direct path; the scattered one's is scattered_
  double scattered_ = 0;
  double deepest_fade_;  // least |h|²
  std::vector<DeviceSpec> devices_;
  std::vector<Place> places_;
  std::vector<Fade> fades_;
  std::vector<radio::DeviceDemand> demands_;
  std::mt19937_64 fading_, jitter_, walking_;
  std::normal_distribution<double> normal_;
};

}  // namespace wdmoe::sim
