#include "agent/session.h"

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::agent;
using Action = Session::Action;
using State = Session::State;

namespace {

const Instant kStart{std::chrono::hours(1)};

wire::Welcome welcome(wire::Status status, std::uint32_t heartbeat_ms = 1000) {
  wire::Welcome message;
  message.status = status;
  message.heartbeat_ms = heartbeat_ms;
  return message;
}

Session ready_session() {
  Session session(kStart);
  session.link_ready(kStart);
  CHECK(session.due(kStart) == Action::send_hello);
  session.welcomed(welcome(wire::Status::ok), kStart);
  return session;
}

}  // namespace

TEST_CASE("session: Hello on every connection, again while no Welcome comes") {
  Session session(kStart);
  CHECK(session.due(kStart) == Action::none);
  session.link_ready(kStart);
  CHECK(session.due(kStart) == Action::send_hello);
  CHECK(session.due(kStart) == Action::none);
  CHECK(session.due(kStart + Session::kWelcomePatience) == Action::send_hello);
  session.welcomed(welcome(wire::Status::ok), kStart);
  CHECK(session.state() == State::ready);
  session.link_lost(kStart);
  CHECK(session.state() == State::connecting);
  session.link_ready(kStart);
  CHECK(session.due(kStart) == Action::send_hello);
}

TEST_CASE("session: pings a silent base station, then gives the connection up") {
  Session session = ready_session();
  CHECK(session.due(kStart + milliseconds(999)) == Action::none);
  int pings = 0;
  Instant now = kStart;
  Action action = Action::none;
  while (action != Action::reopen && pings < 100) {
    now = session.next_due();
    action = session.due(now);
    pings += action == Action::send_ping ? 1 : 0;
  }
  CHECK(action == Action::reopen);
  CHECK(pings == 9);
  CHECK(now - kStart == Session::kLeastPatience);
  CHECK(session.state() == State::connecting);
}

TEST_CASE("session: anything heard keeps the connection") {
  Session session = ready_session();
  Instant now = kStart;
  for (int step = 0; step < 100; ++step) {
    now += milliseconds(900);
    CHECK(session.due(now) == Action::none);
    session.heard(now);
  }
}

TEST_CASE("session: refusals are retried ever more slowly, up to a bound") {
  Session session(kStart);
  session.link_ready(kStart);
  Instant now = kStart;
  milliseconds last{0};
  for (int attempt = 0; attempt < 12; ++attempt) {
    REQUIRE(session.due(now) == Action::send_hello);
    session.welcomed(welcome(wire::Status::wrong_model), now);
    CHECK(session.state() == State::refused);
    CHECK(session.retry_delay() >= last);
    CHECK(session.retry_delay() <= Session::kRetryMax);
    last = session.retry_delay();
    CHECK(session.due(now + last - milliseconds(1)) == Action::none);
    now += last;
  }
  CHECK(last == Session::kRetryMax);
  REQUIRE(session.due(now) == Action::send_hello);
  session.welcomed(welcome(wire::Status::ok), now);
  CHECK(session.retry_delay() == milliseconds(0));
}

TEST_CASE("session: a base station that forgot us gets a Hello at once") {
  Session session = ready_session();
  session.welcomed(welcome(wire::Status::not_ready), kStart);
  CHECK(session.due(kStart) == Action::send_hello);
}

TEST_CASE("session: an unknown key is tried again on a fresh connection, slowly") {
  Session session(kStart);
  Instant now = kStart;
  for (int attempt = 0; attempt < 8; ++attempt) {
    session.key_refused(now);
    session.key_refused(now);  // libzmq tries by itself meanwhile
    session.link_lost(now);
    CHECK(session.state() == State::locked_out);
    CHECK(session.due(now) == Action::none);
    now += session.retry_delay();
    CHECK(session.due(now) == Action::reopen);
    CHECK(session.state() == State::connecting);
  }
  CHECK(session.retry_delay() == Session::kRetryMax);
}

TEST_CASE("session: a heartbeat from outside is bounded") {
  Session session(kStart);
  session.link_ready(kStart);
  session.due(kStart);
  session.welcomed(welcome(wire::Status::ok, 0), kStart);
  CHECK(session.next_due() == kStart + milliseconds(50));
  session.welcomed(welcome(wire::Status::ok, 0xffffffff), kStart);
  CHECK(session.next_due() == kStart + milliseconds(60'000));
}
