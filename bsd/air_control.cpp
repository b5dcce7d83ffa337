#include "bsd/air_control.h"

#include <algorithm>

#include "bsd/actuators.h"

namespace wdmoe::bsd {
namespace {

constexpr milliseconds kTellLimits{100};  // a change of a limit is soon enough known by then
constexpr int kSilentTicks = 20;          // then the watchdog lets go …
constexpr milliseconds kLeastSilence{
    1'000};  // … but not before this: a busy io thread is not stuck

shaping::ShaperOptions shaper_options(const Config& config) {
  shaping::ShaperOptions options;
  options.controller.medium = require(shaping::medium_from(config.radio_medium));
  options.controller.bandwidth = Hertz(config.radio_bandwidth_mhz * 1e6);
  options.controller.capacity_bps = config.radio_capacity_mbps * 1e6;
  options.controller.threshold = config.radio_threshold;
  options.controller.refractory_s = in_seconds(config.radio_refractory);
  options.controller.tick_s = in_seconds(config.radio_tick);
  options.log_csv = config.radio_log_csv;
  options.silence = std::max<milliseconds>(kLeastSilence, kSilentTicks * config.radio_tick);
  return options;
}

}  // namespace

AirControl::AirControl(boost::asio::io_context& io, const Config& config, Fleet& fleet,
                       const Clock& clock, double bits_per_row)
    : config_(config), fleet_(fleet), clock_(clock), bits_per_row_(bits_per_row), timer_(io) {
  if (config.radio_actuators.empty() && config.radio_log_csv.empty()) return;
  shaper_ = require(shaping::Shaper::open(shaper_options(config), make_actuators(config, fleet)));
}

void AirControl::start() {
  if (!shaper_) return;
  due_ = clock_.now();
  arm();
}

/// From the last due time, so that ticks neither drift nor bunch; those that were missed are
/// skipped.
void AirControl::arm() {
  due_ += config_.radio_tick;
  const Instant now = clock_.now();
  if (due_ < now) due_ += (now - due_) / config_.radio_tick * config_.radio_tick;
  timer_.expires_at(due_);
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    tick();
    arm();
  });
}

void AirControl::tick() {
  const FleetSnapshot fleet = fleet_.snapshot();
  const auto links = fleet_.links();
  agents_.clear();
  traffic_.clear();
  for (std::size_t slot = 0; slot < fleet.agents.size(); ++slot) {
    const AgentSnapshot& agent = fleet.agents[slot];
    if (!agent.up || slot >= links.size()) continue;
    agents_.push_back({slot, agent.name, agent.address, links[slot]});
    traffic_.push_back({slot, agent.bytes_sent, agent.bytes_received});
  }
  shaper_->tick(in_seconds(clock_.now().time_since_epoch()), agents_, traffic_, bits_per_row_);
  if (clock_.now() - limits_told_ >= kTellLimits) tell_limits();
}

/// What an actuator holds back is not what the link cannot carry.
void AirControl::tell_limits() {
  limits_told_ = clock_.now();
  const shaping::ShaperReport report = shaper_->report();
  for (const shaping::ActuatorReport& actuator : report.actuators)
    for (const shaping::Observed& seen : actuator.observed) pass_on(seen);
  for (const shaping::AgentInput& agent : agents_) {
    const shaping::Share* share = shaping::find_slot(report.plan.shares, agent.slot);
    double down = 0, up = 0;
    for (const shaping::ActuatorReport& actuator : report.actuators) {
      if (actuator.name == "dry-run" || actuator.health.degraded) continue;
      const shaping::Observed* set = shaping::find_slot(actuator.observed, agent.slot);
      if (set == nullptr) continue;
      if (set->up_bps) up = *set->up_bps;
      // What tc sets is a guarantee; the ceiling is the limit.
      if (set->down_bps && share != nullptr) down = share->down_ceiling_bps;
    }
    const auto limit = [](double bps) { return bps < shaping::kUnlimitedBps ? bps : 0; };
    fleet_.set_limits(agent.slot, limit(down), limit(up));
  }
}

/// What an actuator saw beside its own setting teaches the estimates.
void AirControl::pass_on(const shaping::Observed& seen) {
  const double now_s = in_seconds(limits_told_.time_since_epoch());
  if (seen.backlog_bytes) fleet_.note(seen.slot, radio::BacklogSample{now_s, *seen.backlog_bytes});
  if (!seen.station) return;
  radio::StationSample sample = *seen.station;
  sample.at_s = now_s;
  fleet_.note(seen.slot, sample);
}

void AirControl::stop() {
  timer_.cancel();
  if (shaper_) shaper_->stop();
}

Result<void> AirControl::freeze(bool on) {
  if (!shaper_)
    return fail(Code::unavailable,
                "this base station does not control its radio: radio.actuators is empty");
  shaper_->freeze(on);
  return {};
}

AirReport AirControl::report() const {
  AirReport report;
  report.links = fleet_.links();
  if (shaper_) report.shaper = shaper_->report();
  return report;
}

}  // namespace wdmoe::bsd
