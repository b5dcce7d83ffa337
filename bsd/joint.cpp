#include "bsd/joint.h"

#include <algorithm>
#include <limits>
#include <string>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

constexpr double kLeastGain = 1e-4;  // relative: a round that gains less is the last

bool same_choices(const Selection& a, const Selection& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Choice& x, const Choice& y) {
    return x.row == y.row && x.expert == y.expert && x.device == y.device;
  });
}

}  // namespace

std::string_view name_of(Sharing sharing) {
  return sharing == Sharing::equal ? "equal" : "exact";
}

Result<Sharing> sharing_from(std::string_view name) {
  for (const Sharing sharing : {Sharing::equal, Sharing::exact}) {
    if (name_of(sharing) == name) return sharing;
  }
  return fail(Code::not_found,
              "no allocator '" + std::string(name.substr(0, 64)) + "'; choose equal or exact");
}

JointOptimiser::JointOptimiser(SelectionPolicy& policy, Sharing sharing, std::size_t max_rounds)
    : policy_(policy),
      sharing_(sharing),
      max_rounds_(max_rounds),
      search_([this](Span<const DeviceLoad> loads) { return judge(loads); }) {
  WDMOE_CHECK(max_rounds >= 1);
}

Result<Outcome> JointOptimiser::decide(const SelectionInput& gates, const Cell& cell,
                                       Selection& selection) {
  set_up(gates, cell);
  selection.reserve(trial_.capacity());
  auto start = equal_split_.split_equally(problem_);
  if (!start) return tl::unexpected<Error>(std::move(start).error());
  shares_ = *start;
  SelectionInput input = gates;
  Outcome outcome;
  if (sharing_ == Sharing::exact && policy_.weighs_airtime()) {
    WDMOE_TRY(follow_prices(input, outcome, selection));
  } else {
    WDMOE_TRY(alternate(input, outcome, selection));
  }
  outcome.kept_gate_mass = metrics_.kept_gate_mass(selection);
  outcome.shares = best_shares_;
  outcome.loads = best_loads_;
  outcome.waiting_after = waiting_after_;
  return outcome;
}

/// The paper's way: each round selects at the shares of the one before.
Result<void> JointOptimiser::alternate(SelectionInput& input, Outcome& outcome,
                                       Selection& selection) {
  const std::size_t rounds = sharing_ == Sharing::exact ? max_rounds_ : 1;
  for (std::size_t round = 0; round < rounds; ++round) {
    price_at_shares();
    input.latencies = latencies();
    input.previous = round > 0 ? &selection : nullptr;
    policy_.select(input, trial_);
    if (round > 0 && same_choices(trial_, last_)) break;  // a fixed point
    std::swap(last_, trial_);
    WDMOE_TRY(try_out(last_, false, outcome, selection));
    end_round(outcome);
  }
  return {};
}

/// Ours: each round goes from the best pair so far towards what the policy selects at its prices.
/// Starts where nothing is lost.  What the policy selects at an equal split spends its budget on
/// whoever is slow there, which an exact split mostly mends; it stands in only if the end is later
/// than it would be even so.
Result<void> JointOptimiser::follow_prices(SelectionInput& input, Outcome& outcome,
                                           Selection& selection) {
  price_at_shares();
  input.latencies = latencies();
  input.previous = nullptr;
  if (input.quality < 0) input.quality = policy_.quality();
  policy_.select(input, at_equal_);
  if (input.quality < 0) input.quality = metrics_.kept_gate_mass(at_equal_);
  SelectionInput whole = input;
  whole.quality = 1;
  policy_.select(whole, last_);
  WDMOE_TRY(try_out(last_, false, outcome, selection));
  end_round(outcome);
  WDMOE_TRY(refine(input, outcome, selection));
  const auto loads = metrics_.count_loads(at_equal_, fixed_.size());
  WDMOE_TRY(allocate(loads, Sharing::equal));
  if (!(waiting() < outcome.waiting_latency)) return {};
  WDMOE_TRY(try_out(at_equal_, false, outcome, selection));
  end_round(outcome);
  return {};
}

Result<void> JointOptimiser::refine(SelectionInput& input, Outcome& outcome, Selection& selection) {
  const bool small = search_.prepare(input, fixed_.size());
  // One row needs no prices: the search looks at all that it can do.
  const bool one = small && input.probabilities.rows == 1;
  while (!one && outcome.rounds < max_rounds_) {
    const Seconds before = outcome.waiting_latency;
    WDMOE_TRY(allocate(best_loads_, sharing_));
    price_by_multipliers();
    input.latencies = latencies();
    input.previous = &selection;
    policy_.select(input, last_);
    if (same_choices(last_, selection)) break;
    WDMOE_TRY(move_towards_last(input.quality, outcome, selection));
    end_round(outcome);
    if (outcome.waiting_latency >= before * (1 - kLeastGain)) break;
  }
  if (!small) return {};
  last_.assign(selection.begin(), selection.end());
  search_.run(input.quality, outcome.waiting_latency.count(), last_);
  if (same_choices(last_, selection)) return {};
  // At equal latency the search has found more mass to keep.
  WDMOE_TRY(try_out(last_, true, outcome, selection));
  end_round(outcome);
  return {};
}

/// Goes all the way from `selection` to `last_`, or half of it, or a quarter …, whichever is best.
/// The latency is close to convex along the way: once it rises again, the rest is worse.
Result<void> JointOptimiser::move_towards_last(double quality, Outcome& outcome,
                                               Selection& selection) {
  from_.assign(selection.begin(), selection.end());
  blend_.between(metrics_, from_, last_, quality);
  bool better = false;
  for (const double part : {1.0, 0.5, 0.25, 0.125, 0.0625}) {
    blend_.write(part, trial_);
    const auto improved = try_out(trial_, false, outcome, selection);
    if (!improved) return tl::unexpected<Error>(improved.error());
    if (better && !*improved) break;
    better = better || *improved;
  }
  return {};
}

/// Allocates for the loads of `chosen` and keeps the pair if it beats the best, or with
/// `also_equal` is as good.
Result<bool> JointOptimiser::try_out(const Selection& chosen, bool also_equal, Outcome& outcome,
                                     Selection& selection) {
  const Span<const DeviceLoad> loads = metrics_.count_loads(chosen, fixed_.size());
  if (loads.empty() && !chosen.empty())
    return fail(Code::unavailable, "nobody in the cell holds a chosen expert");
  WDMOE_TRY(allocate(loads, sharing_));
  WDMOE_TRY(prefer_equal_shares());
  const Seconds now = waiting(), best = outcome.waiting_latency;
  const bool first = waiting_after_.empty();
  if (!first && now > best) return false;
  if (!first && now == best && !also_equal) return false;
  outcome.waiting_latency = now;
  selection.assign(chosen.begin(), chosen.end());
  best_shares_.assign(shares_.devices.begin(), shares_.devices.end());
  best_loads_.assign(loads.begin(), loads.end());
  return true;
}

void JointOptimiser::end_round(Outcome& outcome) {
  ++outcome.rounds;
  waiting_after_.push_back(outcome.waiting_latency);
}

/// T of these loads; infinite if the band cannot serve them.
double JointOptimiser::judge(Span<const DeviceLoad> loads) {
  return allocate(loads, sharing_) ? waiting().count() : std::numeric_limits<double>::infinity();
}

void JointOptimiser::set_up(const SelectionInput& gates, const Cell& cell) {
  WDMOE_CHECK(gates.holders != nullptr);
  cell_ = &cell;
  const std::size_t devices = cell.devices.size();
  demands_.assign(cell.devices.begin(), cell.devices.end());
  for (radio::DeviceDemand& demand : demands_) demand.tokens = 0;
  problem_ = {cell.medium, cell.bandwidth, cell.noise, cell.bits_per_row, demands_};
  fixed_.assign(devices, 0.0);
  per_row_.assign(devices, 0.0);
  for (std::vector<double>* air : {&air_per_row_, &air_per_choice_, &air_fixed_}) {
    air->reserve(devices);
  }
  prices_.assign(devices, {});
  waiting_after_.clear();
  waiting_after_.reserve(max_rounds_ + 2);
  trial_.reserve(gates.probabilities.rows * gates.top_k);
  last_.reserve(trial_.capacity());
  from_.reserve(trial_.capacity());
  at_equal_.reserve(trial_.capacity());
  blend_.reserve(gates.probabilities.rows);
  metrics_.look_at(gates);
  count_experts(*gates.holders);
}

/// Where no device holds two experts of the layer, compute is part of a row's time; so it is where
/// rows overlap, as a mean.  Else it is paid by the visit.
void JointOptimiser::count_experts(const Holders& holders) {
  std::vector<double>& held = fixed_;  // not filled yet
  for (const auto& of_expert : holders) {
    for (const std::uint16_t device : of_expert) {
      if (device < held.size()) held[device] += 1;
    }
  }
  experts_ = holders.size();
  compute_by_row_ = cell_->pipelined ||
                    std::all_of(held.begin(), held.end(), [](double count) { return count <= 1; });
  per_choice_.clear();
  if (compute_by_row_) return;
  per_choice_.reserve(held.size() * experts_);
  for (const radio::DeviceDemand& demand : cell_->devices) {
    per_choice_.insert(per_choice_.end(), experts_, demand.compute_per_token.count());
  }
}

Latencies JointOptimiser::latencies() const {
  Latencies out;
  out.fixed_s = fixed_;
  out.per_row_s = per_row_;
  out.airtime_s = air_per_row_;
  out.air_per_choice_s = air_per_choice_;
  out.air_fixed_s = air_fixed_;
  if (!compute_by_row_) out.per_choice_s = {per_choice_.data(), fixed_.size(), experts_};
  return out;
}

/// t_k of the paper at the present shares; see the header about devices without one.
void JointOptimiser::price_at_shares() {
  for (std::vector<double>* air : {&air_per_row_, &air_per_choice_, &air_fixed_}) air->clear();
  for (std::size_t device = 0; device < fixed_.size(); ++device) {
    const radio::DeviceShare& share = shares_.devices[device];
    radio::RowTimes row = row_times(device, share.bandwidth_dl, share.bandwidth_ul);
    if (!(share.bandwidth_dl > Hertz(0))) {
      const radio::DeviceDemand& demand = demands_[device];
      const Seconds left = shares_.waiting_latency - demand.fixed - demand.compute_per_token;
      row.down = row.up = std::max(left, radio::alone_on_air(problem_, demand)) / 2;
    }
    set_cost(device, row);
  }
}

/// The linear model of the header.  Where rows overlap, its sum is scaled to the pipelined latency.
void JointOptimiser::price_by_multipliers() {
  radio::row_prices(problem_, shares_, prices_);
  const double scale =
      shares_.waiting_latency > Seconds(0) ? waiting() / shares_.waiting_latency : 1.0;
  for (std::vector<double>* air : {&air_per_row_, &air_per_choice_, &air_fixed_}) air->clear();
  for (std::size_t device = 0; device < prices_.size(); ++device) {
    const radio::RowPrice& price = prices_[device];
    const radio::DeviceDemand& demand = cell_->devices[device];
    const bool loaded = demands_[device].tokens > 0;
    air_per_row_.push_back(scale * price.link.count());
    air_per_choice_.push_back(scale * price.multiplier * demand.compute_per_token.count());
    air_fixed_.push_back(loaded ? scale * price.multiplier * demand.fixed.count() : 0.0);
    set_cost(device, row_times(device, cell_->bandwidth, cell_->bandwidth));
  }
}

/// One row's stages with this much band; compute is that of the loads last allocated for.
radio::RowTimes JointOptimiser::row_times(std::size_t device, Hertz down, Hertz up) const {
  const radio::DeviceDemand& demand = demands_[device];
  const radio::Rates rates = radio::rates_of(problem_, demand, down, up);
  return radio::row_times(cell_->bits_per_row, rates.down, rates.up, demand.compute_per_token);
}

void JointOptimiser::set_cost(std::size_t device, radio::RowTimes row) {
  if (!compute_by_row_) row.compute = Seconds(0);  // per_choice_ has it
  const Seconds fixed = demands_[device].fixed;
  const radio::LinearLatency cost =
      cell_->pipelined ? radio::pipelined(row, fixed) : radio::summed(row, fixed);
  fixed_[device] = cost.fixed.count();
  per_row_[device] = cost.per_row.count();
}

Result<void> JointOptimiser::allocate(Span<const DeviceLoad> loads, Sharing sharing) {
  for (std::size_t device = 0; device < demands_.size(); ++device) {
    radio::DeviceDemand& demand = demands_[device];
    demand.tokens = loads[device].rows;
    demand.compute_per_token = cell_->devices[device].compute_per_token;
    if (loads[device].rows == 0) continue;
    demand.compute_per_token *= loads[device].visits / static_cast<double>(loads[device].rows);
  }
  auto shares =
      sharing == Sharing::equal ? allocator_.split_equally(problem_) : allocator_.solve(problem_);
  if (!shares) return tl::unexpected<Error>(std::move(shares).error());
  shares_ = *shares;
  return {};
}

/// The optimum of the summed stages need not be that of overlapping rows: takes the equal split
/// where that is done sooner.
Result<void> JointOptimiser::prefer_equal_shares() {
  if (!cell_->pipelined || sharing_ == Sharing::equal) return {};
  const radio::Allocation exact = shares_;
  const Seconds latency = waiting();
  const auto equal = equal_split_.split_equally(problem_);
  if (!equal) return tl::unexpected<Error>(equal.error());
  shares_ = *equal;
  if (!(waiting() < latency)) shares_ = exact;
  return {};
}

Seconds JointOptimiser::waiting() const {
  if (!cell_->pipelined) return shares_.waiting_latency;
  Seconds latest{0};
  for (std::size_t device = 0; device < demands_.size(); ++device) {
    const radio::DeviceShare& share = shares_.devices[device];
    latest = std::max(latest, radio::pipelined_finish_time(problem_, demands_[device],
                                                           share.bandwidth_dl, share.bandwidth_ul));
  }
  return latest;
}

}  // namespace wdmoe::bsd
