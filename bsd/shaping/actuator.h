#pragma once
// What can make the air obey: the interface that tc, wifi, uplink, order and dry-run implement.
// The controller's shell (bsd/shaping/shaper.h) calls it on the io thread, one apply() for every
// change of the shares, one observe() a tick.  Rates are bit/s of payload (radio/link_state.h); an
// actuator that sets rates on the wire converts.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/radio/link_state.h"
#include "common/result.h"
#include "common/span.h"

namespace wdmoe::shaping {

/// What one agent is granted.
struct Share {
  std::size_t slot = 0;  ///< the roster's index: the same for an agent as long as the daemon runs
  std::string agent;     ///< its name
  /// Numeric address of its end of the connection, without port ("192.0.2.7", "2001:db8::7");
  /// empty: not known or not IP (ipc://).
  std::string address;
  /// What it gets when everybody sends, > 0.  Work-conserving actuators let it have more while
  /// others are silent, up to the ceiling.
  double down_bps = 0, up_bps = 0;
  double down_ceiling_bps = 0, up_ceiling_bps = 0;  ///< what its link carries alone, >= the share
  double airtime = 0;  ///< share of the medium's time it should have, both directions, 0…1
};

/// One decision: complete, so that a slot that is missing is no longer shaped.
struct Plan {
  std::uint64_t number = 0;  ///< of the decision, from 1 on
  std::vector<Share> shares;
  /// What the whole cell may send: at most 95 % of what the medium carries, so that queues stay
  /// here and not behind us.  At least the sum of the shares.
  double down_bps = 0, up_bps = 0;
};

/// Read back from where it was set, never from memory.
struct Observed {
  std::size_t slot = 0;
  std::optional<double> down_bps, up_bps;             ///< as set now; absent: not this actuator's
  std::optional<std::uint64_t> down_bytes, up_bytes;  ///< passed what was set; counters, payload
  std::optional<double> backlog_bytes;                ///< waiting there now, downlink
  std::optional<radio::StationSample> station =
      std::nullopt;  ///< wifi's; at_s is the caller's to set
};

/// The one of `all` (values with a `slot`) that is this agent's; null: none.
template <class Range>
const typename Range::value_type* find_slot(const Range& all, std::size_t slot) {
  const auto at =
      std::find_if(all.begin(), all.end(), [slot](const auto& one) { return one.slot == slot; });
  return at == all.end() ? nullptr : &*at;
}

/// Whether an actuator does what it is told.
struct Health {
  bool degraded = false;
  std::string reason;  ///< one line, for people; empty when not degraded
};

/// Lives on the io thread; when that is stuck, the watchdog's thread calls restore() in its place.
/// Never two calls at once (the shell holds a lock).  No call blocks for more than a few
/// milliseconds.
class Actuator {
 public:
  virtual ~Actuator() = default;

  /// As in radio.actuators: "tc", "wifi", "uplink", "order", "dry-run".
  virtual std::string_view name() const = 0;

  /// Everything of `plan` is in force, acknowledged by whoever enforces it (the kernel; for an
  /// agent: sent).  Called again with the same plan it changes nothing.  Errors leave the former
  /// plan in force where that can be done, name the thing that refused, and are not fatal: the
  /// controller tries again with its next decision.
  virtual Result<void> apply(const Plan& plan) = 0;

  /// Reads back; replaces `out`, one entry for each slot that is shaped.
  virtual Result<void> observe(std::vector<Observed>& out) = 0;

  /// What it knows itself of being without effect; the shell adds what it sees by comparing.
  virtual Health health() const { return {}; }

  /// Puts back what was there before the first apply(); work-conserving and safe.  May be called
  /// at any time, again and again, and before any apply(); then there is nothing to do.  The next
  /// apply() starts anew.  Destructors call it.
  virtual Result<void> restore() = 0;
};

}  // namespace wdmoe::shaping
