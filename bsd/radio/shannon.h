#pragma once
// The Shannon rate in the one shape that stays accurate from a starved link to a wasted band.
// Private to bsd/radio: inverses and the allocator are built on it, link.h is what others use.
//
// With y = S/B the SNR of a link of strength S = P·g/N0 (hertz) in a band B, sending takes
//     bits / R(B) = (bits·ln 2 / S) · y / ln(1 + y)
// that is: the time with endless bandwidth, times 1 + excess(y).  On logarithmic axes excess and
// price are almost straight lines (slopes in [0.81, 1] and [1.79, 2]), which is why Newton's method
// on logarithms converges from anywhere in a handful of steps.

#include <cmath>
#include <initializer_list>

namespace wdmoe::radio {

struct SnrTerms {
  double excess;        ///< y/ln(1+y) - 1: relative time above that with endless bandwidth
  double excess_slope;  ///< d ln(excess) / d ln(y)
  double price;         ///< y²·d(excess)/dy: time bought per bandwidth is price · floor / S
  double price_slope;   ///< d ln(price) / d ln(y)
};

/// ln(1+y) and y - ln(1+y), both to a few ulp for any y > 0: the second is what cancels when the
/// band is far wider than the signal needs.
struct LogTerms {
  double log;
  double rest;
};

inline LogTerms log_terms(double y) {
  constexpr double kSeriesBelow = 0.41421356;  // sqrt(2) - 1: s² <= 0.0295, 11 terms reach 1e-17
  if (y >= kSeriesBelow) {
    const double log = std::log(1 + y);
    return {log, y - log};
  }
  // ln(1+y) = 2·atanh(s) = 2s + 2s³/3 + 2s⁵/5 + …  and  y - 2s = s·y,  with s = y/(2+y).
  const double s = y / (2 + y);
  const double q = s * s;
  double series = 1.0 / 23;
  for (const double divisor : {21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0})
    series = series * q + 1 / divisor;
  const double tail = 2 * s * q * series;
  return {2 * s + tail, s * y - tail};
}

/// y/ln(1+y) - 1, accurate relative to itself.
inline double snr_excess(double y) {
  const LogTerms terms = log_terms(y);
  return terms.rest / terms.log;
}

/// Everything Newton's method asks of one link at SNR y in (0, 1e150).
inline SnrTerms snr_terms(double y) {
  const LogTerms terms = log_terms(y);
  const double inverse_log = 1 / terms.log;
  const double share = y / (1 + y);
  // ln(1+y) - y/(1+y), from whichever form does not cancel.
  const double gap = y < 1 ? y * share - terms.rest : terms.log - share;
  const double derivative = gap * inverse_log * inverse_log;  // d(excess)/dy
  SnrTerms out;
  out.excess = terms.rest * inverse_log;
  out.excess_slope = y * derivative / out.excess;
  out.price = y * y * derivative;
  out.price_slope = 2 + share * share / gap - 2 * share * inverse_log;
  return out;
}

}  // namespace wdmoe::radio
