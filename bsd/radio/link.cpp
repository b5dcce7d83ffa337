#include "bsd/radio/link.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "bsd/radio/shannon.h"

namespace wdmoe::radio {

double ratio_from(Decibels decibels) {
  return std::pow(10, decibels.value() / 10);
}

Link make_link(Watts power, double gain, WattsPerHertz noise) {
  return {Hertz(power.value() * gain / noise.value())};
}

Link measured_link(BitsPerSecond rate, Hertz bandwidth) {
  // R/B = log2(1 + S/B)
  return {bandwidth * std::expm1(rate.value() / bandwidth.value() * std::numbers::ln2)};
}

double gain_of(Link link, Watts power, WattsPerHertz noise) {
  return link.strength.value() * noise.value() / power.value();
}

BitsPerSecond rate_of(Link link, Hertz bandwidth) {
  const double strength = link.strength.value(), band = bandwidth.value();
  if (!(strength > 0 && band > 0)) return BitsPerSecond(0);
  const double snr = strength / band;
  if (std::isinf(snr)) return BitsPerSecond(band * (std::log2(strength) - std::log2(band)));
  // Below the smallest normal number the quotient has lost its digits; the limit is exact there.
  if (snr < std::numeric_limits<double>::min()) return rate_limit(link);
  return BitsPerSecond(band * (std::log1p(snr) * std::numbers::log2e));
}

BitsPerSecond rate_limit(Link link) {
  return BitsPerSecond(std::max(0.0, link.strength.value()) * std::numbers::log2e);
}

Hertz bandwidth_for(Link link, BitsPerSecond rate) {
  if (!(rate.value() > 0)) return Hertz(0);
  const double limit = link.strength.value(), nats = rate.value() * std::numbers::ln2;
  if (!(nats < limit)) return Hertz(std::numeric_limits<double>::infinity());
  // S/R = y/ln(1+y) =: 1 + x.  Solve excess(y) = x; the start is exact to first order at x -> 0 and
  // right to a small factor at x -> infinity.
  constexpr double kLargest = 1e140;  // keeps snr_terms() finite; no radio comes near
  const double x = std::min((limit - nats) / nats, kLargest);
  double y = x * (2 + std::log1p(x));
  // Slopes lie in [0.81, 1]: each step leaves at most a quarter of the logarithmic error.
  constexpr int kSteps = 30;
  for (int i = 0; i < kSteps; ++i) {
    const SnrTerms terms = snr_terms(y);
    const double step = std::log(x / terms.excess) / terms.excess_slope;
    y *= std::exp(step);
    if (std::abs(step) < 1e-9) break;  // quadratic: the next step would be below 1e-17
  }
  return link.strength / y;
}

double path_gain(Hertz carrier, Metres distance) {
  const double loss = 32.4 + 20 * std::log10(carrier.value() / 1e9) +
                      20 * std::log10(std::max(1.0, distance.value()));
  return ratio_from(Decibels(-loss));
}

}  // namespace wdmoe::radio
