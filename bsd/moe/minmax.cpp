#include "bsd/moe/minmax.h"

#include <algorithm>
#include <bit>

namespace wdmoe::bsd {
namespace {

constexpr int kRefillPasses = 8;  // random cells need 1 to 3

/// Airtime freed when `row` gives up `pick` while it also goes to `device`.
double air_without(const Draft& draft, const Loads& loads, std::size_t row, const Pick& pick,
                   std::size_t device) {
  bool keeps_row = pick.device == device;
  for (const Pick& other : draft.row(row)) {
    keeps_row = keeps_row || (other.rank != pick.rank && other.device == pick.device);
  }
  return loads.air_to_lose(pick.device, 1, keeps_row);
}

/// The best expert before `limit` that `row` does not use and that some holder can take without
/// the layer taking longer than `latency`; in exchange for `instead`, if given.
bool find_room(const Problem& problem, const Draft& draft, const Loads& loads, std::size_t row,
               double latency, const Pick* instead, std::uint64_t candidates, Pick& found) {
  if (instead) candidates &= bit(instead->rank) - 1;
  for (; candidates != 0; candidates &= candidates - 1) {
    const auto rank = static_cast<std::size_t>(std::countr_zero(candidates));
    const Ranked& ranked = problem.ranks.row(row)[rank];
    for (const std::uint16_t device : problem.holders.of(ranked.expert)) {
      const bool has_row = draft.visits(row, device);
      double more = loads.to_add(device, ranked.expert, has_row);
      if (instead && instead->device == device) more -= loads.per_choice(device, instead->expert);
      double air = loads.air_to_add(device, has_row);
      if (instead) air -= air_without(draft, loads, row, *instead, device);
      if (loads.busy(device) + more > latency || loads.airtime() + air > latency) continue;
      if (air < 0 && loads.airtime() >= latency) continue;  // as below
      found = {static_cast<std::uint16_t>(rank), ranked.expert, device, ranked.probability};
      return true;
    }
  }
  return false;
}

/// Unused ranks of `row` at devices that have room (`reach`) or that it visits anyway: all that may
/// fit.
std::uint64_t candidates_of(const Problem& problem, const Draft& draft, std::size_t row,
                            std::uint64_t reach) {
  std::uint64_t used = 0;
  for (const Pick& pick : draft.row(row)) {
    reach |= device_bit(pick.device);
    used |= bit(pick.rank);
  }
  return problem.ranks_within(row, reach) & ~used;
}

}  // namespace

void MinMaxPolicy::select(const SelectionInput& input, Selection& selection) {
  problem_.prepare(input);
  if (problem_.trivial()) return plain_->select(input, selection);
  draft_.start(problem_);
  if (problem_.loads.priced() && draft_.rows() > 0) {
    by_wlr_.start(problem_);
    wlr_.apply(problem_, by_wlr_);
    double quality = input.quality >= 0 ? input.quality : quality_;
    if (quality < 0) {
      quality = by_wlr_.total_kept(problem_) / static_cast<double>(draft_.rows());
    }
    search(quality);
  }
  draft_.write(selection);
}

void MinMaxPolicy::search(double quality) {
  loads_ = problem_.loads;
  if (Exhaustive::fits(problem_) && exhaustive_.run(problem_, quality, draft_, loads_)) return;

  loads_.clear();
  draft_.load(loads_);
  descent_.run(problem_, quality, draft_, loads_);
  loads_.clear();  // afresh: the descent's sums carry rounding
  draft_.load(loads_);
  double best = loads_.latency();
  consider(by_wlr_, quality, best);
  other_.start(problem_);
  history_.apply(problem_, other_);
  consider(other_, quality, best);
  const Selection* const previous = problem_.input->previous;
  if (previous != nullptr && other_.start_from(problem_, *previous)) {
    consider(other_, quality, best);
  }
  refill(best);
}

bool MinMaxPolicy::meets(const Draft& draft, double quality) const {
  for (std::size_t row = 0; row < problem_.input->row_quality.size(); ++row) {
    if (row >= draft.rows()) break;
    if (draft.kept(problem_, row) < problem_.floor_of(row) - kMassSlack) return false;
  }
  const double rows = static_cast<double>(draft.rows());
  return draft.total_kept(problem_) >= quality * rows - kMassSlack;
}

void MinMaxPolicy::consider(const Draft& candidate, double quality, double& best) {
  trial_ = problem_.loads;
  candidate.load(trial_);
  const double latency = trial_.latency();
  if (latency >= best || !meets(candidate, quality)) return;
  draft_ = candidate;
  loads_ = trial_;
  best = latency;
}

/// Gives mass back where it costs no latency: adds and upgrades choices on devices that are done
/// before `latency` anyway.  An upgrade may free room for a row before it, hence several passes.
void MinMaxPolicy::refill(double latency) {
  std::uint64_t room = loads_.with_room(latency, true);
  for (int pass = 0; pass < kRefillPasses; ++pass) {
    bool changed = false;
    for (std::size_t row = 0; row < draft_.rows(); ++row) {
      if (!refill_row(row, latency, room)) continue;
      changed = true;
      room = loads_.with_room(latency, true);
    }
    if (!changed) return;
  }
}

bool MinMaxPolicy::refill_row(std::size_t row, double latency, std::uint64_t room) {
  const std::size_t top_k = std::min(draft_.top_k(), problem_.ranks.width());
  const auto is_full = [&] { return draft_.row(row).size() == top_k; };
  if (is_full() && draft_.row(row)[top_k - 1].rank + 1u == top_k) return false;  // the gate's own
  bool changed = false;
  Pick found{};
  std::uint64_t candidates = candidates_of(problem_, draft_, row, room);
  for (std::size_t slot = draft_.row(row).size(); slot-- > 0 && candidates != 0;) {
    const Pick pick = draft_.row(row)[slot];
    // Latency must stay: where luck would lower it, a lower quality might not have that luck.
    if (loads_.busy(pick.device) >= latency) continue;
    if (!find_room(problem_, draft_, loads_, row, latency, &pick, candidates, found)) continue;
    draft_.remove(row, slot);
    loads_.remove(pick.device, pick.expert, draft_.visits(row, pick.device));
    loads_.add(found.device, found.expert, draft_.visits(row, found.device));
    draft_.insert(row, found);
    room = loads_.with_room(latency, true);
    candidates = candidates_of(problem_, draft_, row, room);
    changed = true;
  }
  while (!is_full() &&
         find_room(problem_, draft_, loads_, row, latency, nullptr, candidates, found)) {
    loads_.add(found.device, found.expert, draft_.visits(row, found.device));
    draft_.insert(row, found);
    room = loads_.with_room(latency, true);
    candidates = candidates_of(problem_, draft_, row, room);
    changed = true;
  }
  return changed;
}

}  // namespace wdmoe::bsd
