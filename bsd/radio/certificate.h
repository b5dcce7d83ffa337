#pragma once
// Proof that an allocation is optimal, from nothing but the problem and the shares: the problem is
// convex, so shares that satisfy its Karush-Kuhn-Tucker conditions cannot be beaten.

#include "bsd/radio/allocate.h"

namespace wdmoe::radio {

/// How far shares are from the optimality conditions; all relative, 0 is perfect.
struct Certificate {
  double budget = 0;     ///< |band used / band - 1|, the worse direction (idle devices' use counts)
  double imbalance = 0;  ///< (T - earliest finish) / T: all loaded devices must finish together
  double prices = 0;     ///< by how much devices disagree about what an uplink hertz is worth in
                         ///< downlink hertz (fdma_separate; airtime, where it must be 1), see below
  double residual() const;  ///< the largest of the three
};

/// Conditions at the optimum T, with multipliers μ_k > 0 (Σ μ_k = 1) of "device k finishes by T"
/// and λ of the budgets:
///     Σ shares = budget                                  -> budget
///     fixed_k + q_k·t_k = T for every loaded k           -> imbalance
///     μ_k·|∂t_k/∂B_dl| = λ_dl,  μ_k·|∂t_k/∂B_ul| = λ_ul   -> prices
/// μ_k follows from the first price, so the second one demands that |∂t_k/∂B_ul| / |∂t_k/∂B_dl|
/// be one number for all k: `prices` is the largest over the smallest ratio, less 1.
/// `shares` has one entry per device.  A loaded device without a share makes imbalance infinite.
Certificate certify(const AllocationProblem& problem, Span<const DeviceShare> shares);

}  // namespace wdmoe::radio
