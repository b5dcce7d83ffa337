// Three searches inside each other, each bracketed or a contraction, so that each surely ends:
//   price ratio r   bisection: the slower direction's bandwidth must cost more
//     excess e      Newton's method on the reciprocal of the bandwidth used, kept in a bracket
//       shares      Newton's method in logarithms, a contraction (slopes of shannon.h)

#include <algorithm>
#include <cmath>

#include "bsd/radio/equalise.h"
#include "bsd/radio/shannon.h"

namespace wdmoe::radio {
namespace {

constexpr int kShareSteps = 60;    // seen: 8
constexpr int kExcessSteps = 200;  // seen: 20; bisection alone needs about 60
constexpr int kPriceHalvings = 80;
constexpr double kPrecise = 1e-14;

double spent(const LoadedDevice& k, double dl_share, double ul_share) {
  return k.dl_floor * snr_excess(k.dl_snr / dl_share) +
         k.ul_floor * snr_excess(k.ul_snr / ul_share);
}

/// Bandwidth used at one excess, and its derivative (negative).
struct Usage {
  double used = 0, slope = 0;
};

/// Least single share with which the device spends no more than e + gap.
Usage settle_common(LoadedDevice& k, double excess) {
  SnrTerms down, up;
  for (int i = 0; i < kShareSteps; ++i) {
    down = snr_terms(k.dl_snr / k.dl_share);
    up = snr_terms(k.ul_snr / k.dl_share);
    const double dl = k.dl_floor * down.excess, ul = k.ul_floor * up.excess;
    const double slope = (dl * down.excess_slope + ul * up.excess_slope) / (dl + ul);
    const double step = std::log((dl + ul) / (excess + k.gap)) / slope;
    k.ul_share = k.dl_share *= std::exp(step);
    if (std::abs(step) < kPrecise) break;
  }
  const double buys = k.dl_floor * down.price / k.dl_snr + k.ul_floor * up.price / k.ul_snr;
  return {k.dl_share, -1 / buys};
}

/// Cheapest pair of shares, x + r·z least, with which the device spends no more than e + gap.
Usage settle_separate(LoadedDevice& k, double excess, double price_ratio) {
  const double wanted = std::log(price_ratio) + 2 * std::log(k.ul_snr / k.dl_snr);
  SnrTerms down, up;
  for (int i = 0; i < kShareSteps; ++i) {
    down = snr_terms(k.dl_snr / k.dl_share);
    up = snr_terms(k.ul_snr / k.ul_share);
    const double dl = k.dl_floor * down.excess, ul = k.ul_floor * up.excess;
    const double dl_slope = dl * down.excess_slope / (dl + ul);
    const double ul_slope = ul * up.excess_slope / (dl + ul);
    const double late = std::log((excess + k.gap) / (dl + ul));
    const double wasteful = -wanted - std::log(down.price / up.price);
    const double scale = 1 / (dl_slope * up.price_slope + ul_slope * down.price_slope);
    const double dl_step = (up.price_slope * late + ul_slope * wasteful) * scale;
    const double ul_step = (down.price_slope * late - dl_slope * wasteful) * scale;
    k.dl_share *= std::exp(-dl_step);
    k.ul_share *= std::exp(-ul_step);
    if (std::max(std::abs(dl_step), std::abs(ul_step)) < kPrecise) break;
  }
  return {k.dl_share + price_ratio * k.ul_share, -k.dl_snr / (k.dl_floor * down.price)};
}

/// Root of used(e) = budget between low (uses too much) and high (does not).
template <class UsageAt>
double excess_for(double budget, double low, double high, UsageAt usage_at) {
  double excess = high;
  for (int i = 0; i < kExcessSteps; ++i) {
    const Usage usage = usage_at(excess);
    (usage.used > budget ? low : high) = excess;
    double next = excess + (usage.used / budget - 1) * usage.used / -usage.slope;
    if (!(next > low && next < high)) next = std::sqrt(low) * std::sqrt(high);
    if (std::abs(next - excess) <= kPrecise * excess || !(low < high)) break;
    excess = next;
  }
  return excess;
}

template <class Settle>
Usage total(Span<LoadedDevice> devices, Settle settle) {
  Usage sum;
  for (LoadedDevice& k : devices) {
    const Usage usage = settle(k);
    sum.used += usage.used;
    sum.slope += usage.slope;
  }
  return sum;
}

void split_equally(Span<LoadedDevice> devices) {
  for (LoadedDevice& k : devices) k.dl_share = k.ul_share = 1 / static_cast<double>(devices.size());
}

/// Excess at which nobody can finish even with shares `most_down`, `most_up` for itself alone.
double lower_bracket(Span<const LoadedDevice> devices, double most_down, double most_up) {
  double low = 0;
  for (const LoadedDevice& k : devices) low = std::max(low, spent(k, most_down, most_up) - k.gap);
  return low * 0.999;
}

/// Excess that an equal split surely reaches.
double upper_bracket(Span<const LoadedDevice> devices) {
  const double share = 1 / static_cast<double>(devices.size());
  double high = 0;
  for (const LoadedDevice& k : devices) high = std::max(high, spent(k, share, share) - k.gap);
  return high * 1.001;
}

/// Solves for e at one price ratio; returns Σ down - Σ up.
double imbalance_at(Span<LoadedDevice> devices, double price_ratio, double high, double& excess) {
  const double budget = 1 + price_ratio;
  split_equally(devices);
  const double low = lower_bracket(devices, budget, budget / price_ratio);
  excess = excess_for(budget, low, high, [&](double e) {
    return total(devices, [&](LoadedDevice& k) { return settle_separate(k, e, price_ratio); });
  });
  double down = 0, up = 0;
  for (const LoadedDevice& k : devices) {
    down += k.dl_share;
    up += k.ul_share;
  }
  return down - up;
}

}  // namespace

Equalised equalise_common_nested(Span<LoadedDevice> devices) {
  Equalised at;
  split_equally(devices);
  const double low = lower_bracket(devices, 1, 1), high = upper_bracket(devices);
  at.excess = excess_for(1, low, high, [&](double e) {
    ++at.iterations;
    return total(devices, [&](LoadedDevice& k) { return settle_common(k, e); });
  });
  at.converged = true;
  return at;
}

Equalised equalise_separate_nested(Span<LoadedDevice> devices) {
  Equalised at;
  at.converged = true;
  const double high = upper_bracket(devices);
  // Doubling, in the exponent, until the sign changes on both sides: e^±(2^8) covers any ratio that
  // normalise() in allocate.cpp lets through.
  double cheap = -1, dear = 1;  // ln r: too little up-price, too much
  while (cheap > -256 && imbalance_at(devices, std::exp(cheap), high, at.excess) > 0) cheap *= 2;
  while (dear < 256 && imbalance_at(devices, std::exp(dear), high, at.excess) < 0) dear *= 2;
  for (int i = 0; i < kPriceHalvings; ++i) {
    const double middle = 0.5 * (cheap + dear);
    ++at.iterations;
    at.price_ratio = std::exp(middle);
    (imbalance_at(devices, at.price_ratio, high, at.excess) < 0 ? cheap : dear) = middle;
  }
  return at;
}

}  // namespace wdmoe::radio
