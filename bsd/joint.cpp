#include "bsd/joint.h"

#include <algorithm>
#include <limits>

#include "bsd/radio/prices.h"
#include "common/check.h"

namespace wdmoe::bsd {
namespace {

bool same_choices(const Selection& a, const Selection& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Choice& x, const Choice& y) {
    return x.row == y.row && x.expert == y.expert && x.device == y.device;
  });
}

}  // namespace

JointOptimiser::JointOptimiser(SelectionPolicy& policy, Sharing sharing, std::size_t max_rounds)
    : policy_(policy), sharing_(sharing), max_rounds_(max_rounds) {
  WDMOE_CHECK(max_rounds >= 1);
}

Result<Outcome> JointOptimiser::decide(const SelectionInput& gates, const Cell& cell,
                                       Selection& selection) {
  set_up(gates, cell);
  selection.reserve(trial_.capacity());
  auto shares = allocator_.split_equally(problem_);
  if (!shares) return tl::unexpected<Error>(std::move(shares).error());
  SelectionInput input = gates;
  Outcome outcome;
  outcome.waiting_latency = Seconds(std::numeric_limits<double>::infinity());
  const std::size_t rounds = sharing_ == Sharing::equal ? 1 : max_rounds_;
  while (outcome.rounds < rounds) {
    const bool by_multipliers = outcome.rounds > 0 && policy_.weighs_airtime();
    by_multipliers ? price_by_multipliers(*shares) : price_at_shares(*shares);
    input.latencies = latencies();
    input.previous = outcome.rounds > 0 ? &selection : nullptr;
    policy_.select(input, trial_);
    if (outcome.rounds > 0 && same_choices(trial_, last_)) break;  // a fixed point
    std::swap(last_, trial_);
    const Span<const DeviceLoad> loads = metrics_.count_loads(last_, cell.devices.size());
    if (loads.empty() && !last_.empty())
      return fail(Code::unavailable, "nobody in the cell holds a chosen expert");
    shares = allocate(loads);
    if (!shares) return tl::unexpected<Error>(std::move(shares).error());
    ++outcome.rounds;
    const Seconds now = waiting(*shares);
    if (now < outcome.waiting_latency || outcome.rounds == 1) {
      outcome.waiting_latency = now;
      selection.assign(last_.begin(), last_.end());
      best_shares_.assign(shares->devices.begin(), shares->devices.end());
      best_loads_.assign(loads.begin(), loads.end());
    }
    waiting_after_.push_back(outcome.waiting_latency);
  }
  outcome.kept_gate_mass = metrics_.kept_gate_mass(gates, selection);
  outcome.shares = best_shares_;
  outcome.loads = best_loads_;
  outcome.waiting_after = waiting_after_;
  return outcome;
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
  airtime_.clear();
  airtime_.reserve(devices);
  prices_.assign(devices, Seconds(0));
  waiting_after_.clear();
  waiting_after_.reserve(max_rounds_);
  trial_.reserve(gates.probabilities.rows * gates.top_k);
  last_.reserve(trial_.capacity());
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
  out.airtime_s = airtime_;
  if (!compute_by_row_) out.per_choice_s = {per_choice_.data(), fixed_.size(), experts_};
  return out;
}

/// t_k of the paper at the present shares; see the header about devices without one.
void JointOptimiser::price_at_shares(const radio::Allocation& shares) {
  airtime_.clear();
  for (std::size_t device = 0; device < fixed_.size(); ++device) {
    const radio::DeviceShare& share = shares.devices[device];
    radio::RowTimes row = row_times(device, share.bandwidth_dl, share.bandwidth_ul);
    if (!(share.bandwidth_dl > Hertz(0))) {
      const radio::DeviceDemand& demand = demands_[device];
      const Seconds left = shares.waiting_latency - demand.fixed - demand.compute_per_token;
      row.down = row.up = std::max(left, radio::alone_on_air(problem_, demand)) / 2;
    }
    set_cost(device, row, Seconds(0));
  }
}

/// The linear model of the header, both of its sides less Σ μ_k·fixed_k, which no selection avoids.
void JointOptimiser::price_by_multipliers(const radio::Allocation& shares) {
  radio::row_prices(problem_, shares, prices_);
  const Seconds summed = shares.waiting_latency;
  Seconds unavoidable = summed;
  for (std::size_t device = 0; device < prices_.size(); ++device) {
    if (demands_[device].tokens > 0) unavoidable -= demands_[device].tokens * prices_[device];
  }
  const double overlap = summed > Seconds(0) ? waiting(shares) / summed : 1.0;
  airtime_.clear();
  for (std::size_t device = 0; device < prices_.size(); ++device) {
    airtime_.push_back(prices_[device].count() * overlap);
    set_cost(device, row_times(device, cell_->bandwidth, cell_->bandwidth), unavoidable);
  }
}

/// One row's stages with this much band; compute is that of the loads last allocated for.
radio::RowTimes JointOptimiser::row_times(std::size_t device, Hertz down, Hertz up) const {
  const radio::DeviceDemand& demand = demands_[device];
  const radio::Rates rates = radio::rates_of(problem_, demand, down, up);
  return radio::row_times(cell_->bits_per_row, rates.down, rates.up, demand.compute_per_token);
}

void JointOptimiser::set_cost(std::size_t device, radio::RowTimes row, Seconds unavoidable) {
  if (!compute_by_row_) row.compute = Seconds(0);  // per_choice_ has it
  const Seconds fixed = std::max(demands_[device].fixed - unavoidable, Seconds(0));
  const radio::LinearLatency cost =
      cell_->pipelined ? radio::pipelined(row, fixed) : radio::summed(row, fixed);
  fixed_[device] = cost.fixed.count();
  per_row_[device] = cost.per_row.count();
}

Result<radio::Allocation> JointOptimiser::allocate(Span<const DeviceLoad> loads) {
  for (std::size_t device = 0; device < demands_.size(); ++device) {
    radio::DeviceDemand& demand = demands_[device];
    demand.tokens = loads[device].rows;
    demand.compute_per_token = cell_->devices[device].compute_per_token;
    if (loads[device].rows == 0) continue;
    demand.compute_per_token *= loads[device].visits / static_cast<double>(loads[device].rows);
  }
  return sharing_ == Sharing::equal ? allocator_.split_equally(problem_)
                                    : allocator_.solve(problem_);
}

Seconds JointOptimiser::waiting(const radio::Allocation& shares) const {
  if (!cell_->pipelined) return shares.waiting_latency;
  Seconds latest{0};
  for (std::size_t device = 0; device < demands_.size(); ++device) {
    if (!(demands_[device].tokens > 0)) continue;
    const radio::DeviceShare& share = shares.devices[device];
    const radio::RowTimes row = row_times(device, share.bandwidth_dl, share.bandwidth_ul);
    latest =
        std::max(latest, radio::pipelined(row, demands_[device].fixed).at(demands_[device].tokens));
  }
  return latest;
}

}  // namespace wdmoe::bsd
