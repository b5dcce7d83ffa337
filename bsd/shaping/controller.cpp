#include "bsd/shaping/controller.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "bsd/radio/link.h"

namespace wdmoe::shaping {
namespace {

using radio::Medium;

constexpr Watts kPower{1};  // any: only power times gain counts
constexpr double kMostBitsPerHertz =
    60;  // beyond any radio; keeps SNR within the allocator's range

constexpr double kRounding = 1e-6;  // s, of a clock as a double

/// How many times one is the other, less one: 1 for a double and for a half.
double relative_change(double from, double to) {
  if (!(from > 0 && to > 0)) return from == to ? 0 : std::numeric_limits<double>::infinity();
  return std::max(from / to, to / from) - 1;
}

/// What carries `bps` over the whole of `band`.
radio::Link link_over(Hertz band, double bps) {
  return radio::measured_link(BitsPerSecond(std::min(bps, kMostBitsPerHertz * band.value())), band);
}

}  // namespace

Result<std::optional<Medium>> medium_from(std::string_view name) {
  if (name == "dedicated") return std::optional<Medium>();
  const auto medium = radio::medium_from(name);
  if (!medium) return fail(medium.error().code, medium.error().text + " or dedicated");
  return std::optional<Medium>(*medium);
}

std::string_view name_of(Reason reason) {
  switch (reason) {
    case Reason::applied_first:
      return "first";
    case Reason::applied_agents:
      return "agents";
    case Reason::applied_change:
      return "change";
    case Reason::held_threshold:
      return "below_threshold";
    case Reason::held_refractory:
      return "refractory";
    case Reason::held_late:
      return "late_tick";
    case Reason::held_frozen:
      return "frozen";
    case Reason::held_unknown:
      return "nothing_measured";
    case Reason::held_error:
      return "error";
  }
  return "unknown";
}

const Decision& Controller::tick(double now_s, Span<const AgentInput> agents, double bits_per_row) {
  decision_.lateness_s =
      decision_.tick > 0 ? std::max(0.0, now_s - last_tick_s_ - options_.tick_s) : 0;
  last_tick_s_ = now_s;
  ++decision_.tick;
  decision_.at_s = now_s;
  decision_.error.clear();
  decision_.change = decision_.predicted_wait_s = 0;
  decision_.wanted.clear();
  decision_.reason = decide(now_s, agents, bits_per_row);
  if (applies(decision_.reason)) {
    take_steps();
    last_change_s_ = now_s;
  }
  return decision_;
}

void Controller::forget() {
  plan_.shares.clear();
  plan_.down_bps = plan_.up_bps = 0;
}

Reason Controller::decide(double now_s, Span<const AgentInput> agents, double bits_per_row) {
  const bool late = decision_.lateness_s > (kLate - 1) * options_.tick_s;
  late_ += late ? 1 : 0;
  if (frozen_) return Reason::held_frozen;
  if (!fill_demands(agents)) return Reason::held_unknown;
  if (late) return Reason::held_late;
  if (const auto done = want(agents, bits_per_row); !done) {
    decision_.error = done.error().text;
    return Reason::held_error;
  }
  const bool first = plan_.shares.empty(), moved = !same_agents();
  decision_.change = greatest_change();
  const bool over = use_of(plan_.shares) > 1;  // the links fell; no threshold spares them
  if (!first && !moved && !over && decision_.change < options_.threshold)
    return Reason::held_threshold;
  if (plan_.number > 0 && now_s - last_change_s_ < options_.refractory_s - kRounding)
    return Reason::held_refractory;
  return first ? Reason::applied_first : moved ? Reason::applied_agents : Reason::applied_change;
}

/// Rates and loads of the agents, for the allocator.  False: there is nothing to allocate by.
bool Controller::fill_demands(Span<const AgentInput> agents) {
  demands_.clear();
  rates_.clear();
  bool measured = false;
  // A link that nobody has measured must not be held back: it counts as so fast that no share of it
  // is felt, while all of them together leave room in the plan for those that were measured.
  const double unknown = kUnlimitedBps / (2 * static_cast<double>(agents.size()));
  const auto rate = [unknown](const radio::DirectionState& direction) {
    return direction.measured ? std::min(direction.rate_bps, kUnlimitedBps) : unknown;
  };
  for (const AgentInput& agent : agents) {
    const radio::LinkState& link = agent.link;
    measured = measured || link.down.measured || link.up.measured;
    rates_.push_back(rate(link.down));
    rates_.push_back(rate(link.up));
    radio::DeviceDemand demand;
    demand.tokens = link.rows > 1e-6 ? link.rows : 0;
    demand.compute_per_token = Seconds(link.compute.per_row_s);
    demand.fixed = Seconds(link.base_rtt_s + link.agent_queue_s + link.compute.fixed_s);
    demands_.push_back(demand);
  }
  return measured;
}

Result<void> Controller::want(Span<const AgentInput> agents, double bits_per_row) {
  if (!options_.medium) {
    want_dedicated(agents);
  } else {
    radio::AllocationProblem problem;
    problem.medium = *options_.medium;
    // In turns everybody has the whole band: its width drops out, and a wide one keeps SNR small.
    problem.bandwidth = problem.medium == Medium::airtime
                            ? Hertz(*std::max_element(rates_.begin(), rates_.end()))
                            : options_.bandwidth;
    problem.noise = radio::kThermalNoise;
    problem.bits_per_token = Bits(bits_per_row);
    for (std::size_t k = 0; k < demands_.size(); ++k) {
      const auto gain = [&](double bps) {
        return radio::gain_of(link_over(problem.bandwidth, bps), kPower, problem.noise);
      };
      demands_[k].power_dl = demands_[k].power_ul = kPower;
      demands_[k].gain_dl = gain(rates_[2 * k]);
      demands_[k].gain_ul = gain(rates_[2 * k + 1]);
    }
    problem.devices = demands_;
    const auto allocation = allocator_.solve(problem);
    if (!allocation) return tl::unexpected<Error>(allocation.error());
    decision_.predicted_wait_s = allocation->waiting_latency.count();
    want_shared(problem, agents, allocation->devices);
  }
  keep_within_capacity();
  return {};
}

/// Everybody has a link of its own: as much of it as leaves the queue here.
void Controller::want_dedicated(Span<const AgentInput> agents) {
  for (std::size_t k = 0; k < demands_.size(); ++k)
    add_wanted(agents[k], k, kUse * rates_[2 * k], kUse * rates_[2 * k + 1], 1);
}

/// The optimum, less what keeps every agent at kFloor of an equal split.
void Controller::want_shared(const radio::AllocationProblem& problem, Span<const AgentInput> agents,
                             Span<const radio::DeviceShare> optimum) {
  const bool turns = problem.medium == Medium::airtime;
  const Hertz equal =
      problem.bandwidth / (static_cast<double>(demands_.size()) * (turns ? 2.0 : 1.0));
  const bool loaded = std::any_of(demands_.begin(), demands_.end(),
                                  [](const auto& demand) { return demand.tokens > 0; });
  const double floor = loaded ? kFloor : 1;  // nobody asks for anything: an equal split
  for (std::size_t k = 0; k < demands_.size(); ++k) {
    const Hertz down = floor * equal + (1 - floor) * optimum[k].bandwidth_dl;
    const Hertz up = floor * equal + (1 - floor) * optimum[k].bandwidth_ul;
    const radio::Rates rates = radio::rates_of(problem, demands_[k], down, up);
    const double part =
        turns ? (down + up) / problem.bandwidth : std::max(down, up) / problem.bandwidth;
    add_wanted(agents[k], k, kUse * rates.down.value(), kUse * rates.up.value(), part);
  }
}

void Controller::add_wanted(const AgentInput& agent, std::size_t k, double down_bps, double up_bps,
                            double airtime) {
  const auto ceiling = [](double share, double rate, bool measured) {
    return measured ? std::max(share, kUse * rate) : kUnlimitedBps;
  };
  Share share;
  share.slot = agent.slot;
  share.agent = agent.name;
  share.address = agent.address;
  share.down_bps = down_bps;
  share.up_bps = up_bps;
  share.down_ceiling_bps = ceiling(down_bps, rates_[2 * k], agent.link.down.measured);
  share.up_ceiling_bps = ceiling(up_bps, rates_[2 * k + 1], agent.link.up.measured);
  share.airtime = kUse * airtime;
  decision_.wanted.push_back(std::move(share));
}

/// Part of the medium, as measured now, that shares take if everybody uses all of its own.
/// `shares` are of the agents of this tick, in their order.
double Controller::use_of(Span<const Share> shares) const {
  double turns = 0, down = 0, up = 0, common = 0, most = 0, down_bps = 0, up_bps = 0;
  for (std::size_t k = 0; k < decision_.wanted.size(); ++k) {
    const Share* share = find_slot(shares, decision_.wanted[k].slot);
    if (share == nullptr) continue;
    down_bps += share->down_bps;
    up_bps += share->up_bps;
    const double down_part = share->down_bps / rates_[2 * k];
    const double up_part = share->up_bps / rates_[2 * k + 1];
    turns += down_part + up_part;
    most = std::max({most, down_part, up_part});
    if (!options_.medium || *options_.medium == Medium::airtime) continue;
    const auto band = [&](double bps, double whole) {
      const auto link = link_over(options_.bandwidth, whole);
      return radio::bandwidth_for(link, BitsPerSecond(bps)) / options_.bandwidth;
    };
    const double down_band = band(share->down_bps, rates_[2 * k]);
    const double up_band = band(share->up_bps, rates_[2 * k + 1]);
    down += down_band;
    up += up_band;
    common += std::max(down_band, up_band);
  }
  double use = most;
  if (options_.medium == Medium::airtime) use = turns;
  if (options_.medium == Medium::fdma_separate) use = std::max(down, up);
  if (options_.medium == Medium::fdma_common) use = common;
  const double capacity_bps = options_.capacity_bps > 0 ? options_.capacity_bps : kUnlimitedBps;
  const double both = down_bps + up_bps, larger = std::max(down_bps, up_bps);
  return std::max(use, (options_.medium == Medium::airtime ? both : larger) / capacity_bps);
}

/// Scales all shares down until they use no more than kUse.
void Controller::keep_within_capacity() {
  std::vector<Share>& shares = decision_.wanted;
  const double use = use_of(shares);
  if (!(use > kUse)) return;
  // Rates fall at least as fast as the band they need (R is concave in B and 0 at 0).
  for (Share& share : shares) {
    share.down_bps *= kUse / use;
    share.up_bps *= kUse / use;
    share.airtime *= kUse / use;
  }
}

double Controller::greatest_change() const {
  double change = 0;
  for (const Share& wanted : decision_.wanted)
    if (const Share* share = find_slot(plan_.shares, wanted.slot))
      change = std::max({change, relative_change(share->down_bps, wanted.down_bps),
                         relative_change(share->up_bps, wanted.up_bps)});
  return change;
}

bool Controller::same_agents() const {
  return plan_.shares.size() == decision_.wanted.size() &&
         std::all_of(decision_.wanted.begin(), decision_.wanted.end(), [this](const Share& wanted) {
           const Share* share = find_slot(plan_.shares, wanted.slot);
           return share != nullptr && share->address == wanted.address;
         });
}

/// From the plan in force towards what is wanted, by bounded steps and within capacity.
void Controller::take_steps() {
  std::vector<Share> next = decision_.wanted;
  for (std::size_t k = 0; k < next.size(); ++k) {
    const Share* old = find_slot(plan_.shares, next[k].slot);
    if (old == nullptr) continue;
    const auto step = [](double from, double to, double rate) {
      return std::min(std::clamp(to, from / kMostStep, from * kMostStep), kUse * rate);
    };
    next[k].down_bps = step(old->down_bps, next[k].down_bps, rates_[2 * k]);
    next[k].up_bps = step(old->up_bps, next[k].up_bps, rates_[2 * k + 1]);
  }
  if (use_of(next) > kUse)  // what falls must fall at once, or what rises has no room
    for (std::size_t k = 0; k < next.size(); ++k) {
      next[k].down_bps = std::min(next[k].down_bps, decision_.wanted[k].down_bps);
      next[k].up_bps = std::min(next[k].up_bps, decision_.wanted[k].up_bps);
    }
  double down = 0, up = 0, down_alone = 0, up_alone = 0;
  for (const Share& share : next) {
    down += share.down_bps;
    up += share.up_bps;
    const auto join = [&](double& all, double ceiling) {
      all = options_.medium ? std::max(all, ceiling) : all + ceiling;
    };
    join(down_alone, share.down_ceiling_bps);
    join(up_alone, share.up_ceiling_bps);
  }
  const double most = options_.capacity_bps > 0 ? kUse * options_.capacity_bps : kUnlimitedBps;
  plan_.shares = std::move(next);
  plan_.down_bps = std::min(most, std::max(down, down_alone));
  plan_.up_bps = std::min(most, std::max(up, up_alone));
  ++plan_.number;
}

}  // namespace wdmoe::shaping
