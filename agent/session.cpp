#include "agent/session.h"

#include <algorithm>

namespace wdmoe::agent {

void Session::link_ready(Instant now) {
  state_ = State::greeting;
  heard_ = now;
  deadline_ = now;
}

void Session::link_lost(Instant now) {
  if (state_ == State::locked_out) return;  // its own retry is under way
  state_ = State::connecting;
  deadline_ = now + kConnectPatience;
}

void Session::key_refused(Instant now) {
  if (state_ == State::locked_out) return;
  back_off(State::locked_out, now);
}

void Session::heard(Instant now) {
  heard_ = now;
  if (state_ == State::ready) deadline_ = now + heartbeat_;
}

void Session::welcomed(const wire::Welcome& welcome, Instant now) {
  if (state_ == State::connecting || state_ == State::locked_out) return;  // of an old connection
  if (welcome.status == wire::Status::not_ready) {  // it does not know us (any more)
    state_ = State::greeting;
    deadline_ = now;
    return;
  }
  if (welcome.status != wire::Status::ok) {
    back_off(State::refused, now);
    return;
  }
  state_ = State::ready;
  retry_ = milliseconds(0);
  constexpr std::uint32_t kLeast = 50, kMost = 60'000;  // whatever a peer says
  heartbeat_ = milliseconds(std::clamp(welcome.heartbeat_ms, kLeast, kMost));
  heard_ = now;
  deadline_ = now + heartbeat_;
}

void Session::back_off(State state, Instant now) {
  retry_ = std::min(kRetryMax, std::max(kRetryFirst, retry_ * 2));
  state_ = state;
  deadline_ = now + retry_;
}

Session::Action Session::due(Instant now) {
  if (now < deadline_) return Action::none;
  switch (state_) {
    case State::greeting:
      deadline_ = now + kWelcomePatience;
      return Action::send_hello;
    case State::refused:
      state_ = State::greeting;
      deadline_ = now + kWelcomePatience;
      return Action::send_hello;
    case State::ready:
      if (now - heard_ < std::max<Nanoseconds>(kLeastPatience, heartbeat_ * kSilentHeartbeats)) {
        deadline_ = now + heartbeat_;
        return Action::send_ping;
      }
      break;
    case State::connecting:
    case State::locked_out:
      break;
  }
  state_ = State::connecting;
  deadline_ = now + kConnectPatience;
  return Action::reopen;
}

const char* name_of(Session::State state) {
  switch (state) {
    case Session::State::connecting:
      return "connecting";
    case Session::State::greeting:
      return "greeting";
    case Session::State::ready:
      return "ready";
    case Session::State::refused:
      return "refused";
    case Session::State::locked_out:
      return "locked_out";
  }
  return "unknown";
}

}  // namespace wdmoe::agent
