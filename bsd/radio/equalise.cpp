// Newton's method on all optimality conditions at once, in logarithms.
//
// Unknown: each device's shares x_k (down) and z_k (up), the common excess e, and the price ratio
// r. Conditions, with y = dl_snr/x, w = ul_snr/z:
//     device k finishes in time     dl_floor·excess(y) + ul_floor·excess(w) = e + gap_k
//     device k spends economically  r · (ul_snr/dl_snr)² · price(y)/price(w) = 1
//     the bands are full            Σ x_k = 1,  Σ z_k = 1
// A device's two conditions touch only its own shares, so each Newton step eliminates them device
// by device and solves one 2x2 system for (e, r): linear cost, no memory beyond the devices. In
// logarithms all of them are nearly straight: 4 to 6 steps over eighty orders of magnitude
// (tests/bsd/radio/equalise_test.cpp).

#include "bsd/radio/equalise.h"

#include <algorithm>
#include <cmath>

#include "bsd/radio/shannon.h"

namespace wdmoe::radio {
namespace {

constexpr int kMostSteps = 40;       // seen: 15; then the nested search takes over
constexpr double kSmallStep = 1e-8;  // convergence is quadratic: what remains is about its square
constexpr double kLargestStep = 4;   // per device and step, a factor of 13 (see growth())
constexpr double kLargestJump = 50;  // of e and r, a factor of e^50

/// ln(x) where exact, else a cheap function with the same root, slope and curvature at x = 1.
double log_ratio(double x) {
  return x > 0.5 && x < 2 ? 2 * (x - 1) / (x + 1) : std::log(x);
}

/// exp(step) to second order, for steps up to kLargestStep.
double growth(double step) {
  return step >= 0 ? 1 + step + 0.5 * step * step : 1 / (1 - step + 0.5 * step * step);
}

double limited(double step, double limit) {
  return std::clamp(step, -limit, limit);
}

/// Sets `cost` from an equal split and with it a first excess and first shares.
double first_guess(Span<LoadedDevice> devices) {
  const auto count = static_cast<double>(devices.size());
  for (LoadedDevice& k : devices)
    k.cost =
        (k.dl_floor * snr_excess(k.dl_snr * count) + k.ul_floor * snr_excess(k.ul_snr * count)) /
        count;
  const double excess = balance(devices);
  for (LoadedDevice& k : devices) k.dl_share = k.ul_share = k.cost / (excess + k.gap);
  return excess;
}

/// Share-weighted geometric mean of the price ratios at which each device would be content.
double first_price_ratio(Span<const LoadedDevice> devices) {
  double sum = 0, weights = 0;
  for (const LoadedDevice& k : devices) {
    const double down = snr_terms(k.dl_snr / k.dl_share).price;
    const double up = snr_terms(k.ul_snr / k.ul_share).price;
    sum += k.dl_share * (2 * std::log(k.dl_snr / k.ul_snr) + std::log(up / down));
    weights += k.dl_share;
  }
  return std::exp(sum / weights);
}

/// Sums over devices that make up the 2x2 system.
struct Sums {
  double down = 0, down_step = 0, down_per_excess = 0, down_per_price = 0;
  double up = 0, up_step = 0, up_per_excess = 0, up_per_price = 0;
};

/// Linearises one device's two conditions: its steps in ln(SNR) as functions of those of e and r.
void eliminate(LoadedDevice& k, const Equalised& at, Sums& sums) {
  const SnrTerms down = snr_terms(k.dl_snr / k.dl_share), up = snr_terms(k.ul_snr / k.ul_share);
  const double allowed = at.excess + k.gap;
  const double dl = k.dl_floor * down.excess, ul = k.ul_floor * up.excess;
  const double inverse = 1 / (dl + ul);
  const double dl_slope = dl * inverse * down.excess_slope;
  const double ul_slope = ul * inverse * up.excess_slope;
  const double late = log_ratio(allowed * inverse);
  const double strength = k.ul_snr / k.dl_snr;
  const double wasteful =
      -log_ratio(at.price_ratio * strength * strength * (down.price / up.price));
  const double per_excess = at.excess / allowed;
  const double scale = 1 / (dl_slope * up.price_slope + ul_slope * down.price_slope);

  k.dl_step = (up.price_slope * late + ul_slope * wasteful) * scale;
  k.dl_per_excess = up.price_slope * per_excess * scale;
  k.dl_per_price = -ul_slope * scale;
  k.ul_step = (down.price_slope * late - dl_slope * wasteful) * scale;
  k.ul_per_excess = down.price_slope * per_excess * scale;
  k.ul_per_price = dl_slope * scale;

  sums.down += k.dl_share;
  sums.down_step += k.dl_share * k.dl_step;
  sums.down_per_excess += k.dl_share * k.dl_per_excess;
  sums.down_per_price += k.dl_share * k.dl_per_price;
  sums.up += k.ul_share;
  sums.up_step += k.ul_share * k.ul_step;
  sums.up_per_excess += k.ul_share * k.ul_per_excess;
  sums.up_per_price += k.ul_share * k.ul_per_price;
}

/// Applies the steps; returns the largest in size (NaN if any is).
double advance(Span<LoadedDevice> devices, double excess_step, double price_step) {
  double largest = 0;
  for (LoadedDevice& k : devices) {
    const double down = k.dl_step + k.dl_per_excess * excess_step + k.dl_per_price * price_step;
    const double up = k.ul_step + k.ul_per_excess * excess_step + k.ul_per_price * price_step;
    const double size = std::max(std::abs(down), std::abs(up));
    if (!(size <= largest)) largest = size;
    k.dl_share *= growth(-limited(down, kLargestStep));
    k.ul_share *= growth(-limited(up, kLargestStep));
  }
  return largest;
}

}  // namespace

double balance(Span<const LoadedDevice> devices) {
  double excess = 0;
  for (const LoadedDevice& k : devices) excess = std::max(excess, k.cost - k.gap);
  constexpr int kSteps = 100;  // seen: 12
  for (int step = 0; step < kSteps; ++step) {
    double sum = 0, slope = 0;
    for (const LoadedDevice& k : devices) {
      const double inverse = 1 / (excess + k.gap);
      sum += k.cost * inverse;
      slope += k.cost * inverse * inverse;
    }
    const double up = (sum - 1) * sum / slope;
    excess += up;
    if (!(up > 1e-13 * excess)) break;
  }
  return excess;
}

Equalised equalise_common(Span<LoadedDevice> devices) {
  Equalised at;
  at.excess = first_guess(devices);
  for (at.iterations = 1; at.iterations <= kMostSteps; ++at.iterations) {
    double used = 0, used_step = 0, used_per_excess = 0;
    for (LoadedDevice& k : devices) {
      const SnrTerms down = snr_terms(k.dl_snr / k.dl_share), up = snr_terms(k.ul_snr / k.dl_share);
      const double allowed = at.excess + k.gap;
      const double dl = k.dl_floor * down.excess, ul = k.ul_floor * up.excess;
      const double scale = 1 / (dl * down.excess_slope + ul * up.excess_slope);
      k.dl_step = log_ratio(allowed / (dl + ul)) * (dl + ul) * scale;
      k.dl_per_excess = at.excess / allowed * (dl + ul) * scale;
      used += k.dl_share;
      used_step += k.dl_share * k.dl_step;
      used_per_excess += k.dl_share * k.dl_per_excess;
    }
    const double step = (used * log_ratio(used) - used_step) / used_per_excess;
    double largest = 0;
    for (LoadedDevice& k : devices) {
      const double own = k.dl_step + k.dl_per_excess * step;
      if (!(std::abs(own) <= largest)) largest = std::abs(own);
      k.ul_share = k.dl_share *= growth(-limited(own, kLargestStep));
    }
    at.excess *= std::exp(limited(step, kLargestJump));
    if (largest < kSmallStep) {
      at.converged = true;
      break;
    }
  }
  return at;
}

Equalised equalise_separate(Span<LoadedDevice> devices) {
  Equalised at;
  at.excess = first_guess(devices);
  at.price_ratio = first_price_ratio(devices);
  for (at.iterations = 1; at.iterations <= kMostSteps; ++at.iterations) {
    Sums sums;
    for (LoadedDevice& k : devices) eliminate(k, at, sums);
    // Σ x·(1 - step) = 1 and the same up, both in logarithms.
    const double down = sums.down * log_ratio(sums.down) - sums.down_step;
    const double up = sums.up * log_ratio(sums.up) - sums.up_step;
    // dl_per_price < 0, all other coefficients > 0: the determinant cannot vanish.
    const double inverse =
        1 / (sums.down_per_excess * sums.up_per_price - sums.down_per_price * sums.up_per_excess);
    const double excess_step = (down * sums.up_per_price - sums.down_per_price * up) * inverse;
    const double price_step = (sums.down_per_excess * up - sums.up_per_excess * down) * inverse;
    const double largest = advance(devices, excess_step, price_step);
    at.excess *= std::exp(limited(excess_step, kLargestJump));
    at.price_ratio *= std::exp(limited(price_step, kLargestJump));
    if (largest < kSmallStep) {
      at.converged = true;
      break;
    }
  }
  return at;
}

}  // namespace wdmoe::radio
