#include "bsd/radio/certificate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bsd/radio/link.h"
#include "common/check.h"

namespace wdmoe::radio {
namespace {

/// |d(bits/R)/dB| of one direction, up to a factor common to both directions of a device:
///   R(B) = B·ln(1 + S/B) / ln 2,   |d(1/R)/dB| ∝ (ln(1+y) - y/(1+y)) / (B·ln(1+y))²,  y = S/B.
double time_per_band(Link link, Hertz band) {
  const double y = link.strength / band;
  const double log = std::log1p(y);
  // Below 1e-4 the difference would cancel; its series y²/2 - 2y³/3 + 3y⁴/4 is exact to 1e-12
  // there.
  const double gap = y < 1e-4 ? y * y * (0.5 - y * (2.0 / 3 - 0.75 * y)) : log - y / (1 + y);
  const double denominator = band.value() * log;
  return gap / denominator / denominator;
}

/// The same for a share of the turns: |d(bits/(α·R))/dα| ∝ 1/(R·α²).
double time_per_turn(BitsPerSecond average_rate, Hertz share) {
  return 1 / (average_rate.value() * share.value());
}

}  // namespace

double Certificate::residual() const {
  return std::max({budget, imbalance, prices});
}

Certificate certify(const AllocationProblem& problem, Span<const DeviceShare> shares) {
  WDMOE_CHECK(shares.size() == problem.devices.size());
  constexpr double kEndless = std::numeric_limits<double>::infinity();
  Hertz down{0}, up{0};
  double latest = 0, earliest = kEndless, dearest = 0, cheapest = kEndless;
  for (std::size_t device = 0; device < shares.size(); ++device) {
    const DeviceDemand& demand = problem.devices[device];
    const Hertz dl = shares[device].bandwidth_dl, ul = shares[device].bandwidth_ul;
    down += dl;
    up += ul;
    if (!(demand.tokens > 0)) continue;
    const double finish = finish_time(problem, demand, dl, ul).count();
    latest = std::max(latest, finish);
    earliest = std::min(earliest, finish);
    double ratio = 1;
    if (problem.medium == Medium::airtime) {
      const Rates rates = rates_of(problem, demand, dl, ul);
      ratio = time_per_turn(rates.up, ul) / time_per_turn(rates.down, dl);
    } else if (problem.medium == Medium::fdma_separate) {
      ratio = time_per_band(make_link(demand.power_ul, demand.gain_ul, problem.noise), ul) /
              time_per_band(make_link(demand.power_dl, demand.gain_dl, problem.noise), dl);
    }
    dearest = std::max(dearest, ratio);
    cheapest = std::min(cheapest, ratio);
  }
  Certificate out;
  if (!(latest > 0)) return out;  // all idle: nothing to prove
  if (problem.medium == Medium::airtime) {
    dearest = std::max(dearest, 1.0);
    cheapest = std::min(cheapest, 1.0);
    down = up = down + up;
  }
  out.budget =
      std::max(std::abs(down / problem.bandwidth - 1), std::abs(up / problem.bandwidth - 1));
  out.imbalance = std::isinf(latest) ? kEndless : (latest - earliest) / latest;
  out.prices = dearest / cheapest - 1;
  return out;
}

}  // namespace wdmoe::radio
