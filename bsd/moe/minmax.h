#pragma once
// `minmax`, our own policy: the least waiting latency of the layer that a quality budget allows, by
// drops, replicas and substitutes.

#include <memory>

#include "bsd/moe/descent.h"
#include "bsd/moe/draft.h"
#include "bsd/moe/exhaustive.h"
#include "bsd/moe/history.h"
#include "bsd/moe/wlr.h"

namespace wdmoe::bsd {

///     min over S   T(S)                      (Latencies)
///     s.t.         mean_j kept(j) >= quality, kept(j) >= row_quality(j)      (kept_gate_mass)
///                  1 <= |S_j| <= top_k, every choice at a holder of its expert
///
/// The one knob is `quality`, the mean share of gate mass to keep; negative: as much as `wlr` keeps
/// on the same input.  Small layers are solved exactly (exhaustive.h).  Otherwise the answer is the
/// best of a pool that does not depend on the knob, of which the knob admits a part: a descent
/// from the gate's own choice, the paper's two selections, and the previous decision.  So a lower
/// quality never means more latency, and `topk`, `wlr`, `history` and the previous decision are
/// never better at equal or higher kept mass.  docs/selection.md has the argument.
///
/// If the budget cannot be met (experts without a holder), only moves that lose nothing are made.
class MinMaxPolicy final : public SelectionPolicy {
 public:
  explicit MinMaxPolicy(double quality) : quality_(quality) {}

  std::string_view name() const override { return "minmax"; }
  bool weighs_airtime() const override { return true; }
  double quality() const override { return quality_; }
  void select(const SelectionInput& input, Selection& selection) override;

 private:
  void search(double quality);
  bool meets(const Draft& draft, double quality) const;
  void consider(const Draft& candidate, double quality, double& best);
  void refill(double latency);
  bool refill_row(std::size_t row, double latency, std::uint64_t room);

  double quality_;
  Problem problem_;
  Draft draft_;  // the answer so far
  Draft by_wlr_, other_;
  Loads loads_;  // of draft_
  Loads trial_;
  WlrRule wlr_;
  HistoryRule history_;
  Descent descent_;
  Exhaustive exhaustive_;
  std::unique_ptr<SelectionPolicy> plain_ = make_top_k_policy();
};

}  // namespace wdmoe::bsd
