#pragma once
// What one more row would cost where the band is already shared out optimally: the allocator's
// multipliers, put into words a selection policy understands (bsd/joint.h).

#include "bsd/radio/allocate.h"

namespace wdmoe::radio {

/// For every device, by how much the waiting latency T of `solved` (an Allocator::solve of
/// `problem`) grows with one more row there, to first order and with the band shared out anew.
///
/// With μ_k the multiplier of "device k finishes by T" and λ of the band (certificate.h), Σ μ_k =
/// 1:
///     loaded:  ∂T/∂q_k = μ_k·t_k,   so that  Σ_k (μ_k·fixed_k + q_k·∂T/∂q_k) = T
///     idle:    λ · (the least band in which one row is done by T): the price of entry
/// An idle device that cannot be done by T is priced as if its row took about half of the band; one
/// without a link is infinitely dear.  `prices` has one entry per device, in seconds.
/// All idle, nothing solved: 0 for every device with a link.
void row_prices(const AllocationProblem& problem, const Allocation& solved, Span<Seconds> prices);

/// d + u: the time of one row's transfers if `device` had the whole band; infinite without a link.
/// On shared airtime the two take turns at the full rate.
Seconds alone_on_air(const AllocationProblem& problem, const DeviceDemand& device);

}  // namespace wdmoe::radio
