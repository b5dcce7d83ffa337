#pragma once
// What one more row would cost where the band is already shared out optimally: the allocator's
// multipliers, put into words a selection policy understands (bsd/joint.h).

#include "bsd/radio/allocate.h"

namespace wdmoe::radio {

/// What delays everybody when a device does more, the band shared out anew: to first order,
/// ΔT = link·Δrows + multiplier·Δ(seconds of compute or round trip).
struct RowPrice {
  Seconds link{0};        ///< of sending one more row there and back
  double multiplier = 0;  ///< of a second during which the device neither sends nor receives
};

/// Prices at the optimum `solved` (an Allocator::solve of `problem`), one for every device.
/// With μ_k the multiplier of "device k finishes by T", Σ μ_k = 1, and λ that of the band
/// (certificate.h):
///     loaded:  link = μ_k·(L/R_dl + L/R_ul),  multiplier = μ_k,  so that
///              Σ_k (q_k·link_k + μ_k·(fixed_k + q_k·compute_k)) = T
///     idle:    link = λ · (the least band that carries one row in τ = T - fixed_k), the price of
///              entry, and multiplier = link/τ
/// An idle device that cannot be done by T is priced as if its row took half of the band; one
/// without a link is infinitely dear.  An all idle cell has band to give away: 0.
void row_prices(const AllocationProblem& problem, const Allocation& solved, Span<RowPrice> prices);

/// d + u: the time of one row's transfers if `device` had the whole band; infinite without a link.
/// On shared airtime the two take turns at the full rate.
Seconds alone_on_air(const AllocationProblem& problem, const DeviceDemand& device);

}  // namespace wdmoe::radio
