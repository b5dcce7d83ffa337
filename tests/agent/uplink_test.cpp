#include "agent/uplink.h"

#include <doctest/doctest.h>

#include "tests/support/socket_control.h"
#include "tests/support/temp_folder.h"
#include "tests/support/zmq_talk.h"

using namespace wdmoe;
using namespace wdmoe::agent;

namespace {

/// A time of the test's own.
Instant at(int ms) {
  return Instant(milliseconds(ms));
}

std::uint32_t pacing_at(Uplink& uplink, int ms) {
  const auto report = uplink.report(at(ms));
  REQUIRE(report);
  return report->pacing_kbps;
}

}  // namespace

TEST_CASE("uplink: keeps to its share until the lifetime is over" *
          doctest::skip(!test::controls_sockets())) {
  test::ZmqTalk talk("tcp://127.0.0.1:*");
  Uplink uplink;
  CHECK_FALSE(uplink.report(at(0)));  // nothing heard yet
  uplink.heard(talk.dealer->source());
  CHECK(uplink.next_due() == Instant::max());
  CHECK(pacing_at(uplink, 0) == 0);
  uplink.told({8'000, 2'000}, at(100));
  CHECK(uplink.next_due() == at(2'100));
  uplink.keep(at(2'099));
  CHECK(pacing_at(uplink, 2'099) == 8'000);
  uplink.told({4'000, 2'000}, at(2'099));  // repeated in time, with another rate
  uplink.keep(at(2'100));
  CHECK(pacing_at(uplink, 2'110) == 4'000);
  uplink.keep(at(4'099));
  CHECK(pacing_at(uplink, 4'200) == 0);
  CHECK(uplink.next_due() == Instant::max());
}

TEST_CASE("uplink: a share of nothing ends the pacing, a tiny one leaves room for heartbeats" *
          doctest::skip(!test::controls_sockets())) {
  test::ZmqTalk talk("tcp://127.0.0.1:*");
  Uplink uplink;
  uplink.heard(talk.dealer->source());
  uplink.told({1, 2'000}, at(0));
  CHECK(pacing_at(uplink, 0) == 64);
  uplink.told({0, 2'000}, at(1));
  CHECK(pacing_at(uplink, 10) == 0);
  uplink.told({5'000, 0}, at(20));  // over at once
  CHECK(pacing_at(uplink, 30) == 0);
}

TEST_CASE("uplink: a new connection is paced as the one before it was" *
          doctest::skip(!test::controls_sockets())) {
  test::ZmqTalk first("tcp://127.0.0.1:*"), second("tcp://127.0.0.1:*");
  Uplink uplink;
  uplink.heard(first.dealer->source());
  uplink.told({8'000, 60'000}, at(0));
  uplink.heard(second.dealer->source());
  CHECK(wire::Connection::find(second.dealer->source())->pacing()->value() == 8e6);
  CHECK(pacing_at(uplink, 0) == 8'000);
}

TEST_CASE("uplink: reports come now and then, with the kernel's numbers" *
          doctest::skip(!test::controls_sockets())) {
  test::ZmqTalk talk("tcp://127.0.0.1:*");
  Uplink uplink;
  uplink.heard(talk.dealer->source());
  const auto report = uplink.report(at(0));
  REQUIRE(report);
  CHECK(report->acked_bytes >= 64);
  CHECK(report->rtt_us > 0);
  CHECK_FALSE(uplink.report(at(9)));
  CHECK(uplink.report(at(10)));
}

TEST_CASE("uplink: over ipc there is nothing to pace and nothing to report") {
  const test::TempFolder folder;
  test::ZmqTalk talk(folder.ipc("router"));
  Uplink uplink;
  uplink.heard(talk.dealer->source());
  uplink.told({8'000, 2'000}, at(0));
  CHECK_FALSE(uplink.report(at(0)));
  uplink.keep(at(2'000));
  CHECK(uplink.next_due() == Instant::max());
}
