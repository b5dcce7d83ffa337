#pragma once
// `wlr`: the paper's selection by cosine similarity and weight-to-latency ratio.

#include <array>
#include <cstdint>
#include <vector>

#include "bsd/moe/draft.h"

namespace wdmoe::bsd {

/// This project's reading of [wdmoe], selection for the simulated cell.  w[j,k]: row j's weight on
/// device k after top-k and renormalisation; t_k: latency of one row on device k.
///     s_j   = w_j . t / (|w_j| |t|)                    cosine of gate weights and latencies
///     WLR   = sum_k WLR_k,  WLR_k = sum_j q[j,k] w[j,k] / t_k                        [1/s]
/// Rows with s_j <= theta give up their lowest-weight device (and all their experts there) and
/// renormalise; a row keeps at least one device.  theta = 0.5, and 0.1 more as long as that raises
/// WLR, below 1.  Of equal weights the slower device goes.  Without latencies: plain top-k.
class WlrRule {
 public:
  /// `theta` in [0, 1]: this threshold, without the search; negative: searched as above.
  explicit WlrRule(double theta = -1) : fixed_theta_(theta) {}
  void apply(const Problem& problem, Draft& draft);
  /// The last call's theta; 0 where nothing was priced.
  double theta() const { return theta_; }

 private:
  static constexpr std::size_t kSteps = 5;  // 0.5, 0.6, ... 0.9

  struct Verdict {
    std::uint16_t step;    // first theta at which the row gives up; kSteps: never
    std::uint16_t device;  // what it would give up
  };
  Verdict judge(const Draft& draft, std::size_t row, std::array<double, kSteps>& gain) const;

  double fixed_theta_;
  double theta_ = 0;
  double norm_ = 0;                // |t|
  std::vector<double> seconds_;    // t, [devices]
  std::vector<Verdict> verdicts_;  // [rows]
};

}  // namespace wdmoe::bsd
