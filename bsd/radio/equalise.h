#pragma once
// The heart of bandwidth allocation, in numbers without units: find the earliest finish time that
// all loaded devices can share.  Private to bsd/radio; allocate.h is the interface.
//
// The band is 1.  A device's time is
//     dl_floor·(1 + excess(dl_snr/x)) + ul_floor·(1 + excess(ul_snr/z)) + compute
// with x, z its shares down and up (shannon.h).  Every device beats only its own floor, so the
// common finish time is T = max_k floor_k + e, and device k may spend e + gap_k in excess, with
// gap_k = max floor - floor_k >= 0.  Working with the small e instead of T keeps twelve digits when
// a band is far wider than the signal needs.

#include "common/span.h"

namespace wdmoe::radio {

struct LoadedDevice {
  // given
  double dl_snr, ul_snr;      ///< SNR if it had the whole band
  double dl_floor, ul_floor;  ///< transfer times with endless bandwidth, all rows
  double gap;                 ///< how much earlier than the slowest floor it could finish
  // found
  double dl_share = 0, ul_share = 0;
  // the solver's notes on the way
  double cost = 0;  ///< share · excess, nearly constant: the first guess
  double dl_step = 0, dl_per_excess = 0, dl_per_price = 0;
  double ul_step = 0, ul_per_excess = 0, ul_per_price = 0;
};

/// `excess` e of the optimum, and how it was reached.
struct Equalised {
  double excess = 0;
  double price_ratio = 1;  ///< price of uplink bandwidth in units of downlink bandwidth
  int iterations = 0;
  bool converged = false;
};

/// Root e > 0 of  Σ_k cost_k / (e + gap_k) = 1,  where the least gap is 0.  Newton's method on the
/// reciprocal of the sum, which is concave: it climbs from below and never overshoots.
double balance(Span<const LoadedDevice> devices);

/// One share for both directions (dl_share = ul_share), shares sum to 1.
Equalised equalise_common(Span<LoadedDevice> devices);
/// Shares down sum to 1 and shares up sum to 1.
Equalised equalise_separate(Span<LoadedDevice> devices);

/// The same optima by nested, bracketed searches: slow, and sure to end.  What the fast ones fall
/// back to, and what tests hold them against.
Equalised equalise_common_nested(Span<LoadedDevice> devices);
Equalised equalise_separate_nested(Span<LoadedDevice> devices);

}  // namespace wdmoe::radio
