#pragma once
// The decision of every tick: estimates and loads in, shares and a reason out.  Pure: time comes in
// with the tick.  The shell around it (shaper.h) hands the shares to the actuators.
//
// What must hold whatever the estimates do:
//   - the shares use at most kUse of what the medium was measured to carry, or queues form where
//     nobody controls them;
//   - nobody's share falls below kFloor of an equal split, so that an agent whose link looks bad
//     can still show that it is not;
//   - nothing is changed within the refractory time of the last change, nor for less than the
//     threshold: TCP and the access point have controllers of their own, and two that answer each
//     other swing;
//   - one change at most doubles a share, and halves it unless capacity demands more.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/radio/allocate.h"
#include "bsd/radio/link_state.h"
#include "bsd/shaping/actuator.h"
#include "common/span.h"
#include "common/units.h"

namespace wdmoe::shaping {

constexpr double kUse = 0.95;   ///< of measured capacity
constexpr double kFloor = 0.2;  ///< of an equal split is everybody's
/// Ceiling of a link that nobody has measured, and of any plan: none, as far as radios go.
constexpr double kUnlimitedBps = 9e9;

struct ControllerOptions {
  /// How the agents share the air; none: every agent has a link of its own.
  std::optional<radio::Medium> medium = radio::Medium::airtime;
  Hertz bandwidth{20e6};      ///< of the band, for the fdma media
  double capacity_bps = 0;    ///< of the cell, payload; 0: what the links are measured to carry
  double threshold = 0.08;    ///< least relative change of any share that is worth a change
  double refractory_s = 0.1;  ///< least time between two changes
  double tick_s = 0.02;
};

/// "airtime", "fdma_separate", "fdma_common" or "dedicated" (none); else bad_input.
Result<std::optional<radio::Medium>> medium_from(std::string_view name);

/// One agent as a tick finds it.
struct AgentInput {
  std::size_t slot = 0;
  std::string name, address;
  radio::LinkState link;
};

enum class Reason : std::uint8_t {
  applied_first,    ///< nothing was in force
  applied_agents,   ///< an agent came, left or moved
  applied_change,   ///< a share changes by more than the threshold
  held_threshold,   ///< no share would change enough
  held_refractory,  ///< one would, but the last change is too young
  held_late,        ///< this tick came late: what it sees may be our own pause
  held_frozen,
  held_unknown,  ///< no agent is up, or nobody's rate is known yet
  held_error,    ///< the allocator refused; `error` says why
};
std::string_view name_of(Reason reason);
constexpr bool applies(Reason reason) {
  return reason <= Reason::applied_change;
}

struct Decision {
  std::uint64_t tick = 0;
  double at_s = 0;
  Reason reason = Reason::held_unknown;
  std::string error;            ///< for held_error
  double change = 0;            ///< greatest relative change of a share that was wanted
  double predicted_wait_s = 0;  ///< of the loads under the allocator's shares, per exchange
  double lateness_s = 0;        ///< how much later than due the tick came
  std::vector<Share> wanted;    ///< what the allocator says, floor and margin included
};

class Controller {
 public:
  explicit Controller(ControllerOptions options) : options_(std::move(options)) {}

  /// `agents`: those that are up; `bits_per_row`: L_comm, each way, > 0.  `now_s` only goes
  /// forward.  The decision lives until the next call; with applies(reason) plan() is new.
  const Decision& tick(double now_s, Span<const AgentInput> agents, double bits_per_row);

  const Plan& plan() const { return plan_; }  ///< in force; number 0: none yet
  const Decision& last() const { return decision_; }
  /// Ticks that came later than kLate ticks after the one before.
  std::uint64_t late_ticks() const { return late_; }

  void freeze(bool on) { frozen_ = on; }
  bool frozen() const { return frozen_; }
  /// Nothing is in force any more (the actuators were restored): the next tick starts anew.
  void forget();

  static constexpr double kLate = 3;  ///< ticks
  static constexpr double kMostStep = 2;

 private:
  Reason decide(double now_s, Span<const AgentInput> agents, double bits_per_row);
  bool fill_demands(Span<const AgentInput> agents);
  Result<void> want(Span<const AgentInput> agents, double bits_per_row);
  void want_dedicated(Span<const AgentInput> agents);
  void want_shared(const radio::AllocationProblem& problem, Span<const AgentInput> agents,
                   Span<const radio::DeviceShare> optimum);
  void add_wanted(const AgentInput& agent, std::size_t k, double down_bps, double up_bps,
                  double airtime);
  void keep_within_capacity();
  double use_of(Span<const Share> shares) const;
  double greatest_change() const;
  bool same_agents() const;
  void take_steps();

  ControllerOptions options_;
  radio::Allocator allocator_;
  std::vector<radio::DeviceDemand> demands_;
  std::vector<double> rates_;  // [agents of the tick][down, up] whole-band rates
  Decision decision_;
  Plan plan_;
  double last_tick_s_ = 0, last_change_s_ = 0;
  std::uint64_t late_ = 0;
  bool frozen_ = false;
};

}  // namespace wdmoe::shaping
