#include "bsd/radio/prices.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "bsd/radio/link.h"
#include "bsd/radio/shannon.h"
#include "common/check.h"

namespace wdmoe::radio {
namespace {

/// λ of the band of each direction, in seconds per hertz; equal where there is one band.
struct BandPrices {
  double down = 0, up = 0;
};

/// |d(1/R)/dB| of one direction of a device, seconds per bit and hertz.
double gain_of_band(const AllocationProblem& problem, Watts power, double gain, Hertz band) {
  if (problem.medium == Medium::airtime) {  // rate = band · (whole rate / whole band)
    const Link link = make_link(power, gain, problem.noise);
    const double rate = rate_of(link, problem.bandwidth).value() * (band / problem.bandwidth);
    return 1 / (rate * band.value());
  }
  const double strength = make_link(power, gain, problem.noise).strength.value();
  // floor · price / S of shannon.h, with the floor of one bit, ln 2 / S.
  return std::numbers::ln2 * snr_terms(strength / band.value()).price / (strength * strength);
}

/// |∂(finish time)/∂band| of a loaded device, by direction.
BandPrices slopes(const AllocationProblem& problem, const DeviceDemand& device,
                  const DeviceShare& share) {
  const double bits = device.tokens * problem.bits_per_token.value();
  return {bits * gain_of_band(problem, device.power_dl, device.gain_dl, share.bandwidth_dl),
          bits * gain_of_band(problem, device.power_ul, device.gain_ul, share.bandwidth_ul)};
}

/// 1 / |∂t/∂B|, the band that a second of this device is worth; μ_k is its part of the sum.
double band_per_second(Medium medium, const BandPrices& slope) {
  return 1 / (medium == Medium::fdma_common ? slope.down + slope.up : slope.down);
}

/// Bits per second and hertz of one direction in `band`.
double efficiency(const AllocationProblem& problem, Watts power, double gain, Hertz band) {
  const Hertz used = problem.medium == Medium::airtime ? problem.bandwidth : band;
  return rate_of(make_link(power, gain, problem.noise), used).value() / used.value();
}

/// λ · the least band that carries one row of `device` both ways in `time`.
/// The efficiency depends on the band only by a logarithm, so a few rounds settle it.
double entry_price(const AllocationProblem& problem, const DeviceDemand& device,
                   const BandPrices& price, double time) {
  constexpr int kRounds = 6;
  const double bits = problem.bits_per_token.value();
  Hertz down = problem.bandwidth, up = problem.bandwidth;
  double cost = 0;
  for (int round = 0; round < kRounds; ++round) {
    // What one hertz would take, by direction: time = a/down + b/up.
    const double a = bits / efficiency(problem, device.power_dl, device.gain_dl, down);
    const double b = bits / efficiency(problem, device.power_ul, device.gain_ul, up);
    if (problem.medium == Medium::fdma_common) {
      down = up = Hertz((a + b) / time);
      cost = price.down * down.value();
    } else {  // min price.down·x + price.up·z  s.t.  a/x + b/z = time
      const double root_a = std::sqrt(a * price.down), root_b = std::sqrt(b * price.up);
      cost = (root_a + root_b) * (root_a + root_b) / time;
      down = Hertz((root_a + root_b) * root_a / (price.down * time));
      up = Hertz((root_a + root_b) * root_b / (price.up * time));
    }
  }
  return cost;
}

}  // namespace

Seconds alone_on_air(const AllocationProblem& problem, const DeviceDemand& device) {
  const Rates rates = rates_of(problem, device, problem.bandwidth, problem.bandwidth);
  if (!(rates.down.value() > 0 && rates.up.value() > 0))
    return Seconds(std::numeric_limits<double>::infinity());
  return problem.bits_per_token / rates.down + problem.bits_per_token / rates.up;
}

void row_prices(const AllocationProblem& problem, const Allocation& solved, Span<RowPrice> prices) {
  WDMOE_CHECK(prices.size() == problem.devices.size());
  WDMOE_CHECK(solved.devices.size() == problem.devices.size());
  double all = 0, loaded = 0;
  BandPrices price;
  for (std::size_t device = 0; device < prices.size(); ++device) {
    if (!(problem.devices[device].tokens > 0)) continue;
    const BandPrices slope = slopes(problem, problem.devices[device], solved.devices[device]);
    const double worth = band_per_second(problem.medium, slope);
    all += worth;
    price.up += worth * slope.up;  // μ_k·|∂t_k/∂B_ul|, which the devices agree on
    loaded += 1;
    prices[device].multiplier = worth;
  }
  if (all > 0) price.down = 1 / all;
  const bool separate = problem.medium == Medium::fdma_separate;
  price.up = separate && all > 0 ? price.up / (all * loaded) : price.down;
  for (std::size_t device = 0; device < prices.size(); ++device) {
    const DeviceDemand& demand = problem.devices[device];
    RowPrice& out = prices[device];
    if (demand.tokens > 0) {
      out.multiplier /= all;
      const Seconds spent = solved.devices[device].latency - demand.fixed;
      out.link = out.multiplier * (spent / demand.tokens - demand.compute_per_token);
      continue;
    }
    const Seconds alone = alone_on_air(problem, demand);
    out = {std::isinf(alone.count()) ? alone : Seconds(0), 0};
    if (!(all > 0) || std::isinf(alone.count())) continue;
    const Seconds time = std::max(solved.waiting_latency - demand.fixed, 2 * alone);
    out.link = Seconds(entry_price(problem, demand, price, time.count()));
    out.multiplier = out.link / time;
  }
}

}  // namespace wdmoe::radio
