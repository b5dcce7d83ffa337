#include "bsd/moe/descent.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace wdmoe::bsd {
namespace {

// Per choice of the gate: moves that a path may take and exits that it may price.  Random cells
// need about 2 and 4; the bounds end a pathological one, with a valid selection.
constexpr std::size_t kChangesPerChoice = 8, kLooksPerChoice = 32;

}  // namespace

void Descent::set_up(const Problem& problem, Draft& draft, Loads& loads) {
  problem_ = &problem;
  draft_ = &draft;
  loads_ = &loads;
  mass_ = draft.total_kept(problem);
  looks_ = 0;
  const std::size_t rows = draft.rows(), queues = loads.devices() + 1;
  if (queues_.size() < queues) queues_.resize(queues);
  for (std::size_t index = 0; index < queues; ++index) {
    const bool of_medium = index + 1 == queues;
    queues_[index].clear(of_medium ? rows * loads.devices() : rows);
  }
  queued_.assign(2 * loads.devices() * rows, 0);
  changes_.clear();
  changes_.reserve(kChangesPerChoice * rows * draft.top_k() + 2 * kMaxTopK);
  used_.assign(rows, 0);
  for (std::size_t row = 0; row < rows; ++row) {
    for (const Pick& pick : draft.row(row)) {
      used_[row] |= bit(pick.rank);
      queue_visit(static_cast<std::uint32_t>(row), pick.device);
    }
  }
}

void Descent::run(const Problem& problem, double quality, Draft& draft, Loads& loads) {
  set_up(problem, draft, loads);
  const double least_mass = quality * static_cast<double>(draft.rows()) - kMassSlack;
  double lowest = std::numeric_limits<double>::infinity();
  std::size_t mark = 0, busiest = 0;
  double latency = 0;
  do {
    busiest = loads.busiest();
    latency = std::max(loads.busy(busiest), loads.airtime());
    if (latency >= lowest) continue;  // two bottlenecks: one is relieved, the other still waits
    lowest = latency;
    mark = changes_.size();
  } while (step(busiest, latency, least_mass));
  undo_to(mark);
}

/// One move along the path; false at its end.
bool Descent::step(std::size_t busiest, double latency, double least_mass) {
  const std::size_t choices = draft_->rows() * draft_->top_k();
  if (changes_.size() >= kChangesPerChoice * choices || !(latency > 0)) return false;
  medium_ = loads_->airtime() >= loads_->busy(busiest);
  room_ = loads_->with_room(latency, false);
  Plan plan;
  std::uint32_t row = 0;
  VisitQueue& queue = queues_[medium_ ? loads_->devices() : busiest];
  if (!cheapest_exit(queue, latency, row, plan)) return false;
  if (plan.loss > 0 && mass_ - plan.loss < least_mass) return false;
  apply(row, plan);
  return true;
}

/// The visit that gives up least per second saved.  Prices grow as devices fill up, so an entry is
/// priced again when it comes to the front, and goes back if it has become dearer than the next.
bool Descent::cheapest_exit(VisitQueue& queue, double latency, std::uint32_t& row, Plan& best) {
  const std::size_t most_looks = kLooksPerChoice * draft_->rows() * draft_->top_k();
  if (!queue.is_ordered()) order(queue);
  while (!queue.empty() && looks_ < most_looks) {
    const Visit visit = queue.front();
    ++looks_;
    const bool leaves = plan_exit(visit.row, visit.device, latency, best);
    if (leaves && !queue.reprice_front(static_cast<float>(best.harm / best.saved))) continue;
    flag_of(queue, visit.row, visit.device) = 0;
    queue.pop();
    row = visit.row;
    if (leaves) return true;
  }
  return false;
}

/// Makes a list a heap: its bottleneck is one for the first time.  Prices are guesses, for
/// cheapest_exit() to correct where they come to the front; most never do.
void Descent::order(VisitQueue& queue) {
  for (Visit& visit : queue.visits()) visit.price = guess_price(visit.row, visit.device);
  queue.order();
}

/// What it costs if the row's expert at `device` is dropped, or, if it is the row's only one, if
/// the most probable other stands in.
float Descent::guess_price(std::uint32_t row, std::uint16_t device) const {
  constexpr float kUnknown = std::numeric_limits<float>::lowest();
  const std::size_t own = problem_->ranks.own(row);
  const Pick* leaving = nullptr;
  RowWeights weights;
  for (const Pick& pick : draft_->row(row)) {
    weights.add(pick.probability, pick.rank < own);
    if (pick.device != device) continue;
    if (leaving != nullptr) return kUnknown;  // of several it may be any
    leaving = &pick;
  }
  if (leaving == nullptr) return kUnknown;
  const double error = error_of(row, weights);
  weights.remove(leaving->probability, leaving->rank < own);
  if (draft_->row(row).size() == 1) {
    const auto unused = static_cast<std::size_t>(std::countr_one(used_[row]));
    if (unused >= problem_->ranks.width()) return kUnknown;
    weights = {};
    weights.add(problem_->ranks.row(row)[unused].probability, unused < own);
  }
  const double saved =
      medium_ ? loads_->air_to_lose(device, 1, false)
              : loads_->per_choice(device, leaving->expert) + loads_->to_lose_row(device);
  if (!(saved > 0)) return kUnknown;
  return static_cast<float>((error_of(row, weights) - error) / saved);
}

/// The cheapest way for `row` to relieve the bottleneck at `device`; false: there is none.  All its
/// choices there leave, or, where choices cost of their own, a single one.
bool Descent::plan_exit(std::size_t row, std::size_t device, double latency, Plan& best) {
  const Picks picks = draft_->row(row);
  std::uint64_t here = 0;
  for (std::size_t slot = 0; slot < picks.size(); ++slot) {
    here |= std::uint64_t{picks[slot].device == device} << slot;
  }
  if (here == 0) return false;  // left since it was queued
  bool found = plan_leaving(row, device, here, latency, best);
  if ((here & (here - 1)) == 0) return found;
  for (std::size_t slot = 0; slot < picks.size(); ++slot) {
    if (!(here & bit(slot))) continue;
    if (!plan_leaving(row, device, bit(slot), latency, single_)) continue;
    if (found && single_.harm * best.saved >= best.harm * single_.saved) continue;
    best = single_;
    found = true;
  }
  return found;
}

/// Plans that `leaving` slots, all on `device`, go; each is replaced by the most probable expert
/// that another device can take without becoming the bottleneck itself.
bool Descent::plan_leaving(std::size_t row, std::size_t device, std::uint64_t leaving,
                           double latency, Plan& plan) const {
  const Picks picks = draft_->row(row);
  plan.leaving = leaving;
  plan.arrivals = 0;
  bool keeps_row = false;
  double freed = 0;
  RowWeights before, weights;
  const std::size_t own = problem_->ranks.own(row);
  std::uint64_t used = used_[row], reach = room_;
  for (std::size_t slot = 0; slot < picks.size(); ++slot) {
    const Pick& pick = picks[slot];
    before.add(pick.probability, pick.rank < own);
    if (leaving & bit(slot)) {
      freed += loads_->per_choice(device, pick.expert);
      used &= ~bit(pick.rank);
    } else {
      weights.add(pick.probability, pick.rank < own);
      keeps_row = keeps_row || pick.device == device;
      reach |= device_bit(pick.device);
    }
  }
  if (!keeps_row) freed += loads_->to_lose_row(device);
  plan.air = -loads_->air_to_lose(device, std::popcount(leaving), keeps_row);
  if (device < 64) reach &= ~device_bit(device);
  const double error = error_of(row, before);
  std::uint64_t candidates = reach == 0 ? 0 : problem_->ranks_within(row, reach) & ~used;
  for (std::size_t left = leaving; left != 0 && candidates != 0; left &= left - 1) {
    if (medium_ ? !place_cheaply(row, latency, candidates, device, error, weights, plan)
                : !place(row, latency, candidates, device, plan)) {
      break;
    }
    const Pick& arrival = plan.arrival[plan.arrivals - 1];
    weights.add(arrival.probability, arrival.rank < own);
    candidates &= ~bit(arrival.rank);
  }
  if (weights.empty()) return false;
  plan.saved = medium_ ? -plan.air : freed;
  if (!(plan.saved > 0)) return false;
  const double top = problem_->ranks.top_mass(row);
  plan.loss = top > 0 ? (before.mass() - weights.mass()) / top : 0.0;
  plan.harm = error_of(row, weights) - error;
  if (plan.loss <= 0) return true;
  const double floor = problem_->floor_of(row);
  return floor <= 0 || draft_->kept(*problem_, row) - plan.loss >= floor - kMassSlack;
}

/// Adds the best of the `candidates` (ranks) that a device other than `from` can take below
/// `latency` to `plan`; false: there is none.
bool Descent::place(std::size_t row, double latency, std::uint64_t candidates, std::size_t from,
                    Plan& plan) const {
  const Ranked* const ranked = problem_->ranks.row(row);
  for (; candidates != 0; candidates &= candidates - 1) {
    const auto rank = static_cast<std::size_t>(std::countr_zero(candidates));
    const std::uint16_t expert = ranked[rank].expert;
    double earliest = latency, air = 0;
    std::uint16_t chosen = kNobody;
    for (const std::uint16_t device : problem_->holders.of(expert)) {
      if (device == from) continue;
      bool has_row = false;
      const double done = done_with(row, device, expert, plan, has_row);
      if (!(done < earliest)) continue;
      const double more_air = loads_->air_to_add(device, has_row);
      if (!air_fits(plan.air + more_air, latency)) continue;
      earliest = done;
      chosen = device;
      air = more_air;
    }
    if (chosen == kNobody) continue;
    plan.air += air;
    plan.arrival[plan.arrivals++] = {static_cast<std::uint16_t>(rank), expert, chosen,
                                     ranked[rank].probability};
    return true;
  }
  return false;
}

/// As place(), for a row that leaves the medium: among the candidates the one that is worth its
/// airtime most, and only if keeping it is cheaper per second saved than not to.  `error`: of the
/// row before the move; `weights`: of what it has left so far.
bool Descent::place_cheaply(std::size_t row, double latency, std::uint64_t candidates,
                            std::size_t from, double error, const RowWeights& weights,
                            Plan& plan) const {
  const Ranked* const ranked = problem_->ranks.row(row);
  bool found = !weights.empty();
  double harm = error_of(row, weights) - error, saved = -plan.air, air = 0;
  Pick best{};
  bool chosen = false;
  for (; candidates != 0; candidates &= candidates - 1) {
    const auto rank = static_cast<std::size_t>(std::countr_zero(candidates));
    const std::uint16_t expert = ranked[rank].expert;
    RowWeights with = weights;
    with.add(ranked[rank].probability, rank < problem_->ranks.own(row));
    const double harm_with = error_of(row, with) - error;
    for (const std::uint16_t device : problem_->holders.of(expert)) {
      if (device == from) continue;
      bool has_row = false;
      const double done = done_with(row, device, expert, plan, has_row);
      if (!(done < latency)) continue;
      const double more_air = loads_->air_to_add(device, has_row);
      const double left = -plan.air - more_air;
      if (!(left > 0)) continue;
      if (found && !(harm_with * saved < harm * left)) continue;
      found = chosen = true;
      harm = harm_with;
      saved = left;
      air = more_air;
      best = {static_cast<std::uint16_t>(rank), expert, device, ranked[rank].probability};
    }
  }
  if (!chosen) return false;
  plan.air += air;
  plan.arrival[plan.arrivals++] = best;
  return true;
}

/// May the medium carry `more` seconds (negative: fewer)?  As the bottleneck it must be relieved.
bool Descent::air_fits(double more, double latency) const {
  if (medium_) return more < 0;
  return more <= 0 || loads_->airtime() + more < latency;
}

/// When `device` would be done with one more choice of `row`, the plan's earlier arrivals included.
double Descent::done_with(std::size_t row, std::uint16_t device, std::uint16_t expert,
                          const Plan& plan, bool& has_row) const {
  double earlier = 0;
  has_row = draft_->visits(row, device);
  for (std::size_t index = 0; index < plan.arrivals; ++index) {
    if (plan.arrival[index].device != device) continue;
    earlier += loads_->to_add(device, plan.arrival[index].expert, has_row);
    has_row = true;
  }
  return loads_->busy(device) + earlier + loads_->to_add(device, expert, has_row);
}

void Descent::apply(std::uint32_t row, const Plan& plan) {
  mass_ -= plan.loss;
  for (std::size_t slot = draft_->row(row).size(); slot-- > 0;) {
    if (plan.leaving & bit(slot)) change(row, draft_->row(row)[slot], false);
  }
  for (std::size_t index = 0; index < plan.arrivals; ++index) {
    change(row, plan.arrival[index], true);
  }
  for (const Pick& pick : draft_->row(row)) queue_visit(row, pick.device);
}

void Descent::change(std::uint32_t row, Pick pick, bool add) {
  changes_.push_back({row, pick, add});
  edit(row, pick, add);
}

void Descent::undo_to(std::size_t mark) {
  while (changes_.size() > mark) {
    const Change last = changes_.back();
    changes_.pop_back();
    edit(last.row, last.pick, !last.added);
  }
}

std::uint8_t& Descent::flag_of(const VisitQueue& queue, std::uint32_t row, std::uint16_t device) {
  const std::size_t devices = loads_->devices();
  const bool of_medium = &queue == &queues_[devices];
  return queued_[((of_medium ? devices : 0) + device) * draft_->rows() + row];
}

void Descent::queue_visit(std::uint32_t row, std::uint16_t device) {
  enter(queues_[device], row, device);
  if (loads_->has_medium()) enter(queues_[loads_->devices()], row, device);
}

void Descent::enter(VisitQueue& queue, std::uint32_t row, std::uint16_t device) {
  std::uint8_t& queued = flag_of(queue, row, device);
  if (queued) return;
  queued = 1;
  // Not priced yet: comes to the front, where it will be.
  queue.push({std::numeric_limits<float>::lowest(), row, device});
}

void Descent::edit(std::uint32_t row, Pick pick, bool add) {
  used_[row] ^= bit(pick.rank);
  if (add) {
    loads_->add(pick.device, pick.expert, draft_->visits(row, pick.device));
    draft_->insert(row, pick);
    return;
  }
  const Picks picks = draft_->row(row);
  std::size_t slot = 0;
  while (picks[slot].rank != pick.rank) ++slot;
  draft_->remove(row, slot);
  loads_->remove(pick.device, pick.expert, draft_->visits(row, pick.device));
}

}  // namespace wdmoe::bsd
