#include "bsd/shaping/shaper.h"

#include <algorithm>
#include <utility>

namespace wdmoe::shaping {

std::string_view name_of(ShaperState state) {
  switch (state) {
    case ShaperState::running:
      return "running";
    case ShaperState::frozen:
      return "frozen";
    case ShaperState::safe:
      return "safe";
  }
  return "unknown";
}

Result<std::unique_ptr<Shaper>> Shaper::open(const ShaperOptions& options,
                                             std::vector<std::unique_ptr<Actuator>> actuators) {
  std::optional<DecisionLog> log;
  if (!options.log_csv.empty()) {
    auto opened = DecisionLog::open(options.log_csv);
    if (!opened) return tl::unexpected<Error>(opened.error());
    log = std::move(*opened);
  }
  return std::unique_ptr<Shaper>(new Shaper(options, std::move(log), std::move(actuators)));
}

Shaper::Shaper(const ShaperOptions& options, std::optional<DecisionLog> log,
               std::vector<std::unique_ptr<Actuator>> actuators)
    : controller_(options.controller), log_(std::move(log)), watchdog_(options.silence, [this] {
        const std::lock_guard<std::mutex> lock(mutex_);
        let_go("no tick: the io thread is stuck");
      }) {
  for (auto& actuator : actuators) {
    Driven driven;
    driven.report.name = actuator->name();
    driven.actuator = std::move(actuator);
    driven_.push_back(std::move(driven));
  }
}

Shaper::~Shaper() {
  stop();
}

void Shaper::tick(double now_s, Span<const AgentInput> agents, Span<const Traffic> traffic,
                  double bits_per_row) {
  watchdog_.feed();
  const std::lock_guard<std::mutex> lock(mutex_);
  ++ticks_;
  const Decision& decision = controller_.tick(now_s, agents, bits_per_row);
  if (applies(decision.reason) || (retry_ && now_s - applied_s_ >= kRetry)) apply(now_s);
  if (now_s - looked_s_ >= kLook) look(now_s, traffic);
  failures_ = decision.reason == Reason::held_error ? failures_ + 1 : 0;
  if (failures_ == kMostFailures) let_go(decision.error.c_str());
  if (log_ && !log_->write(decision, controller_.plan(), agents)) {
    log::warn("radio_log_ended", {{"reason", "the disk refused, or the file is full"}});
    log_.reset();
  }
}

void Shaper::apply(double now_s) {
  if (state_ == ShaperState::safe) {
    state_ = ShaperState::running;
    log::info("radio_resumed");
  }
  applied_s_ = now_s;
  looked_s_ = now_s;  // read back a while after the change, not in its middle
  retry_ = false;
  ++changes_;
  for (Driven& driven : driven_) {
    const auto done = driven.actuator->apply(controller_.plan());
    ++(done ? driven.report.applied : driven.report.failed);
    driven.refusal = done ? Health{} : Health{true, done.error().text};
    if (done) continue;
    retry_ = true;
    driven.report.health = driven.refusal;
    log::write_limited(refusals_, log::Level::warn, "radio_refused",
                       {{"actuator", driven.report.name}, {"reason", done.error().text}});
  }
}

void Shaper::look(double now_s, Span<const Traffic> traffic) {
  looked_s_ = now_s;
  if (controller_.plan().shares.empty()) return;
  for (Driven& driven : driven_) {
    std::vector<Observed>& observed = driven.report.observed;
    const auto done = driven.actuator->observe(observed);
    Health health = driven.actuator->health();
    if (driven.refusal.degraded)
      health = driven.refusal;
    else if (!done)
      health = {true, done.error().text};
    else if (!health.degraded)
      health = driven.effect.judge(now_s, controller_.plan(), observed, traffic);
    if (health.degraded != driven.report.health.degraded) {
      const auto write = health.degraded ? log::warn : log::info;
      write(health.degraded ? "radio_degraded" : "radio_effective",
            {{"actuator", driven.report.name}, {"reason", health.reason}});
    }
    driven.report.health = std::move(health);
  }
}

void Shaper::freeze(bool on) {
  const std::lock_guard<std::mutex> lock(mutex_);
  controller_.freeze(on);
  if (state_ != ShaperState::safe) state_ = on ? ShaperState::frozen : ShaperState::running;
}

void Shaper::stop() {
  watchdog_.sleep();
  const std::lock_guard<std::mutex> lock(mutex_);
  restore_all();
}

/// Somebody must: queues that nobody adapts any more are worse than none.
void Shaper::let_go(const char* why) {
  ++rescues_;
  state_ = ShaperState::safe;
  log::warn("radio_let_go", {{"reason", why}});
  restore_all();
}

void Shaper::restore_all() {
  for (Driven& driven : driven_) {
    if (const auto done = driven.actuator->restore(); !done) {
      driven.report.health = {true, done.error().text};
      log::error("radio_not_restored",
                 {{"actuator", driven.report.name}, {"reason", done.error().text}});
    }
    driven.report.observed.clear();
    driven.effect.forget();
  }
  retry_ = false;
  controller_.forget();
}

ShaperReport Shaper::report() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  ShaperReport report;
  report.state = state_;
  report.last = controller_.last();
  report.plan = controller_.plan();
  report.ticks = ticks_;
  report.late_ticks = controller_.late_ticks();
  report.changes = changes_;
  report.rescues = rescues_;
  for (const Driven& driven : driven_) report.actuators.push_back(driven.report);
  return report;
}

}  // namespace wdmoe::shaping
