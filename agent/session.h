#pragma once
// The agent's side of the acquaintance with a base station: when to say Hello, when to ping, when
// to give a connection up.  A pure state machine: events and the time go in, actions come out.

#include <string>

#include "common/clock.h"
#include "wire/messages.h"

namespace wdmoe::agent {

class Session {
 public:
  enum class State {
    connecting,  ///< no connection yet, or lost; libzmq tries again by itself
    greeting,    ///< Hello is out (or due), no Welcome yet
    ready,       ///< Dispatches are answered
    refused,     ///< the base station said no; Hello again later
    locked_out   ///< it does not know our key; a new connection later
  };
  enum class Action { none, send_hello, send_ping, reopen };

  explicit Session(Instant now) : deadline_(now + kConnectPatience) {}

  void link_ready(Instant now);  ///< a connection stands (CURVE done)
  void link_lost(Instant now);   ///< it is gone
  void key_refused(Instant now);
  void heard(Instant now);  ///< any frame arrived
  void welcomed(const wire::Welcome& welcome, Instant now);

  /// What is due now; ask again until `none`.  The caller does it, and it counts as done.
  Action due(Instant now);
  Instant next_due() const { return deadline_; }  ///< when due() may have something next

  State state() const { return state_; }
  milliseconds retry_delay() const { return retry_; }

  static constexpr milliseconds kRetryFirst{1'000}, kRetryMax{30'000};
  static constexpr milliseconds kWelcomePatience{3'000};   ///< Hello again after this long
  static constexpr milliseconds kConnectPatience{60'000};  ///< a fresh socket after this long
  /// A silent base station is given up after so many heartbeats, but never before kLeastPatience:
  /// its engine may be inside a long prefill.
  static constexpr int kSilentHeartbeats = 5;
  static constexpr milliseconds kLeastPatience{10'000};

 private:
  void back_off(State state, Instant now);

  State state_ = State::connecting;
  Instant deadline_;
  Instant heard_{};
  milliseconds heartbeat_{1'000};
  milliseconds retry_{0};
};

const char* name_of(Session::State state);

}  // namespace wdmoe::agent
