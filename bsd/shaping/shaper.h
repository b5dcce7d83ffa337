#pragma once
// The shell around the controller: hands its shares to the actuators, reads back what they did,
// writes the log, and lets go of everything when it is stopped, breaks down or falls silent.
// Lives on the io thread, whose timer calls tick(); a watchdog stands by on a thread of its own.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bsd/shaping/actuator.h"
#include "bsd/shaping/controller.h"
#include "bsd/shaping/decision_log.h"
#include "bsd/shaping/effect.h"
#include "bsd/shaping/watchdog.h"
#include "common/clock.h"
#include "common/log.h"

namespace wdmoe::shaping {

struct ShaperOptions {
  ControllerOptions controller;
  std::filesystem::path log_csv;  ///< empty: no log
  milliseconds silence{1'000};    ///< without a tick, after which the queues are let go
};

enum class ShaperState : std::uint8_t {
  running,
  frozen,  ///< what is in force stays, nothing new is applied
  safe,    ///< let go: by the watchdog, or because the controller kept failing
};
std::string_view name_of(ShaperState state);

struct ActuatorReport {
  std::string name;
  Health health;
  std::uint64_t applied = 0, failed = 0;  ///< plans
  std::vector<Observed> observed;         ///< last read back
};

struct ShaperReport {
  ShaperState state = ShaperState::running;
  Decision last;
  Plan plan;                                                          ///< commanded
  std::uint64_t ticks = 0, late_ticks = 0, changes = 0, rescues = 0;  ///< rescues: became safe
  std::vector<ActuatorReport> actuators;
};

class Shaper {
 public:
  /// io: the log cannot be written.
  static Result<std::unique_ptr<Shaper>> open(const ShaperOptions& options,
                                              std::vector<std::unique_ptr<Actuator>> actuators);
  ~Shaper();  ///< restores
  Shaper(const Shaper&) = delete;
  Shaper& operator=(const Shaper&) = delete;

  /// One turn; `agents` are those that are up, `traffic` what passed their connections so far.
  void tick(double now_s, Span<const AgentInput> agents, Span<const Traffic> traffic,
            double bits_per_row);
  void freeze(bool on);
  /// What every actuator found there before is back; the next tick would start anew.
  void stop();
  ShaperReport report() const;

  static constexpr double kLook = 0.25;     ///< s between two readings back
  static constexpr double kRetry = 1;       ///< s until what an actuator refused is tried again
  static constexpr int kMostFailures = 50;  ///< ticks in a row, then it is better to let go

 private:
  struct Driven {
    std::unique_ptr<Actuator> actuator;
    ActuatorReport report;
    EffectCheck effect;
    Health refusal;  // of the last apply() or observe()
  };

  Shaper(const ShaperOptions& options, std::optional<DecisionLog> log,
         std::vector<std::unique_ptr<Actuator>> actuators);
  void apply(double now_s);
  void look(double now_s, Span<const Traffic> traffic);
  void let_go(const char* why);
  void restore_all();

  mutable std::mutex mutex_;  // of everything below: the watchdog acts in the io thread's place
  Controller controller_;
  std::optional<DecisionLog> log_;
  std::vector<Driven> driven_;
  ShaperState state_ = ShaperState::running;
  std::uint64_t ticks_ = 0, changes_ = 0, rescues_ = 0;
  int failures_ = 0;  // ticks in a row
  double applied_s_ = 0, looked_s_ = 0;
  bool retry_ = false;
  log::RateLimit refusals_{milliseconds(10'000)};
  Watchdog watchdog_;  // last: its thread uses all of the above
};

}  // namespace wdmoe::shaping
