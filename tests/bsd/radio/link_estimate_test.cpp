// The estimator on links whose truth is known: a first-in-first-out queue of some rate and delay in
// each direction, with the kernel's samples of it and without.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/radio/estimate.h"

using namespace wdmoe::radio;
using doctest::Approx;

namespace {

constexpr double kRowBytes = 4096, kHeadBytes = 200;

/// A link and the agent behind it, in simulated time.
struct Cell {
  double down_bps = 20e6, up_bps = 10e6, rtt_s = 0.01, overhead_s = 0, jitter_s = 0;
  bool kernel = false;  // samples of TCP_INFO, as the fleet takes them
  double now_s = 0;
  std::uint64_t acked_down = 0, acked_up = 0;
  std::mt19937 random{7};
  DeviceEstimate estimate;
  /// [direction] seconds of traffic in it since a step of the rate until its estimate was within
  /// kFollowed of the truth; negative: not yet.
  std::array<double, 2> busy_s{}, followed_s{-1, -1};
  static constexpr double kFollowed = 1.3;

  void step(double down, double up) {
    down_bps = down, up_bps = up;
    busy_s = {}, followed_s = {-1, -1};
  }
  bool follows() const { return followed_s[0] >= 0 && followed_s[1] >= 0; }
  void look(Direction direction, double busy_now_s) {
    const auto at = static_cast<std::size_t>(direction);
    const LinkState state = estimate.state();
    const double ratio =
        direction == Direction::down ? state.down.rate_bps / down_bps : state.up.rate_bps / up_bps;
    if (followed_s[at] < 0 && std::abs(std::log(ratio)) < std::log(kFollowed))
      followed_s[at] = busy_s[at] + busy_now_s;
  }

  double jitter() {
    return jitter_s > 0 ? std::exponential_distribution<double>(1 / jitter_s)(random) : 0;
  }

  /// Both kernels' samples while a message drains at `bps`, every 20 ms.
  void drain(Direction direction, double bytes, double bps) {
    std::uint64_t& acked = direction == Direction::down ? acked_down : acked_up;
    const std::uint64_t before = acked;
    for (double sent = 0; kernel && sent < bytes; sent += bps / 8 * 0.02) {
      TcpSample sample;
      sample.at_s = now_s + rtt_s / 2 + sent / (bps / 8);
      acked = before + static_cast<std::uint64_t>(sent);
      sample.bytes_acked = acked;
      sample.unacked = static_cast<std::uint64_t>(bytes - sent);
      sample.rtt_s = rtt_s + 1448 * 8 / bps;
      sample.min_rtt_s = rtt_s;
      sample.segments = acked / 1448;
      estimate.add(direction, sample);
      look(direction, sent / (bps / 8));
    }
    busy_s[static_cast<std::size_t>(direction)] += bytes * 8 / bps;
    acked = before + static_cast<std::uint64_t>(bytes);
    now_s += bytes * 8 / bps;
  }

  void exchange(std::size_t rows, bool disturbed = false) {
    const double bytes = static_cast<double>(rows) * kRowBytes + kHeadBytes;
    const double began = now_s;
    drain(Direction::down, bytes, down_bps);
    drain(Direction::up, bytes, up_bps);
    ExchangeSample sample;
    sample.queue_s = 1e-4;
    sample.compute_s = 5e-4 + 1e-5 * static_cast<double>(rows);
    now_s += rtt_s + overhead_s + jitter() + sample.queue_s + sample.compute_s;
    sample.at_s = now_s;
    sample.rows = rows;
    sample.round_trip_s = now_s - began;
    sample.bytes_down = sample.bytes_up = bytes;
    sample.disturbed = disturbed;
    estimate.add(sample);
    look(Direction::down, 0);
    look(Direction::up, 0);
    now_s += 1e-3;
  }

  /// Total time of a byte there and back: what exchanges alone can tell.
  double slowness() const {
    const LinkState state = estimate.state();
    return (1 / state.down.rate_bps + 1 / state.up.rate_bps) / (1 / down_bps + 1 / up_bps);
  }
};

}  // namespace

TEST_CASE("link estimate: a small message never makes a fast link slow") {
  struct Case {
    const char* name;
    double overhead_s, jitter_s;
    bool kernel;
  };
  const Case cases[] = {{"quiet", 1e-3, 0, false},
                        {"jittery", 1e-3, 1e-3, false},
                        {"slow agent, kernel knows the round trip", 4e-3, 1e-3, true}};
  for (const Case& c : cases) {
    SUBCASE(c.name) {
      Cell cell;
      cell.down_bps = cell.up_bps = 1e9;
      cell.rtt_s = 1e-3;
      cell.overhead_s = c.overhead_s;
      cell.jitter_s = c.jitter_s;
      cell.kernel = c.kernel;
      for (int i = 0; i < 20; ++i) cell.exchange(i % 2 == 0 ? 64 : 1);  // it has been fast once
      const double known = cell.estimate.state().down.rate_bps;
      for (int i = 0; i < 3000; ++i) cell.exchange(1);
      CHECK(cell.estimate.state().down.rate_bps >= known);
      cell.now_s += 3600;  // and idle
      cell.exchange(1);
      CHECK(cell.estimate.state().down.rate_bps >= known);
    }
  }
}

TEST_CASE("link estimate: small exchanges alone bound the rate from below, and say so") {
  Cell cell;
  for (int i = 0; i < 200; ++i) cell.exchange(1);
  const LinkState state = cell.estimate.state();
  CHECK_FALSE(state.down.measured);
  CHECK(state.down.rate_bps > 0);
  CHECK(state.down.rate_bps <= cell.down_bps);
  CHECK(state.up.rate_bps <= cell.up_bps);
}

TEST_CASE("link estimate: exchanges of two sizes measure the link within a tenth") {
  Cell cell;
  cell.jitter_s = 1e-3;
  for (int i = 0; i < 100; ++i) cell.exchange(i % 3 == 0 ? 48 : 1);
  CHECK(cell.slowness() == Approx(1).epsilon(0.1));
  CHECK(cell.estimate.state().down.measured);
  CHECK(cell.estimate.state().base_rtt_s == Approx(cell.rtt_s).epsilon(0.2));
}

TEST_CASE(
    "link estimate: a tenfold step under traffic is followed within 300 ms, then within 10 %") {
  struct Case {
    const char* name;
    double before, after;  // factors of the rates
    bool kernel;
  };
  const Case cases[] = {{"falls, the kernel tells", 1, 0.1, true},
                        {"rises, the kernel tells", 0.1, 1, true},
                        {"falls, from exchanges alone", 1, 0.1, false},
                        {"rises, from exchanges alone", 0.1, 1, false}};
  for (const Case& c : cases) {
    SUBCASE(c.name) {
      Cell cell;
      cell.kernel = c.kernel;
      cell.jitter_s = 5e-4;
      const std::size_t large = c.kernel ? 32 : 12;  // without the kernel only whole exchanges tell
      int count = 0;
      const auto traffic = [&] { cell.exchange(++count % 4 == 0 ? 1 : large); };
      const double up = cell.up_bps, down = c.kernel ? 2 * up : up;  // exchanges see the sum only
      cell.step(down * c.before, up * c.before);
      while (cell.now_s < 5) traffic();
      cell.step(down * c.after, up * c.after);
      const double step_s = cell.now_s;
      while (!cell.follows()) {
        traffic();
        REQUIRE(cell.now_s < step_s + 5);
      }
      MESSAGE(c.name << ": after " << cell.followed_s[0] << " s of downlink, " << cell.followed_s[1]
                     << " s of uplink traffic");
      if (c.kernel) {
        CHECK(cell.followed_s[0] <= 0.3);
        CHECK(cell.followed_s[1] <= 0.3);
      }
      const double settled_s = cell.now_s + 1;
      while (cell.now_s < settled_s) traffic();
      for (int i = 0; i < 100; ++i) {
        traffic();
        CHECK(cell.slowness() == Approx(1).epsilon(0.1));
      }
      if (c.kernel) {
        CHECK(cell.estimate.state().down.rate_bps == Approx(cell.down_bps).epsilon(0.1));
        CHECK(cell.estimate.state().up.rate_bps == Approx(cell.up_bps).epsilon(0.1));
      }
    }
  }
}

TEST_CASE("link estimate: disturbed exchanges teach compute, and only bounds of the link") {
  Cell cell;
  for (int i = 0; i < 60; ++i) cell.exchange(i % 3 == 0 ? 48 : 1);
  const LinkState before = cell.estimate.state();
  cell.overhead_s = 0.5;  // the base station looked late
  for (int i = 0; i < 200; ++i) cell.exchange(128, true);
  const LinkState after = cell.estimate.state();
  CHECK(after.down.rate_bps >= before.down.rate_bps);
  CHECK(after.up.rate_bps >= before.up.rate_bps);
  CHECK(after.link.per_row_s == before.link.per_row_s);
  CHECK(after.compute.fixed_s + 128 * after.compute.per_row_s ==
        Approx(5e-4 + 1e-5 * 128).epsilon(1e-6));
}

TEST_CASE("link estimate: behind a limit that follows it, it recovers and settles a little above") {
  std::mt19937 random(4);
  std::normal_distribution<double> noise(1, 0.02);
  DirectionEstimate direction;
  double now_s = 0;
  for (const double link : {20e6, 2e6, 20e6, 15e6}) {
    CAPTURE(link);
    const double step_s = now_s;
    for (; now_s < step_s + 20; now_s += 0.05) {
      const double limit = 0.95 * direction.rate_bps();  // none at first
      direction.set_limit(limit);
      const double passes = limit > 0 ? std::min(link, limit) : link;
      direction.add_measured(now_s, passes * noise(random));
      if (now_s < step_s + 12) continue;
      CHECK(direction.rate_bps() >= 0.95 * link);
      CHECK(direction.rate_bps() <= 1.15 * link);
    }
  }
}

TEST_CASE("link estimate: far below a limit it is the link that holds back") {
  DirectionEstimate direction;
  direction.set_limit(50e6);
  for (int i = 0; i < 20; ++i) direction.add_measured(i * 0.05, 4e6);
  CHECK(direction.rate_bps() == Approx(4e6));
}

TEST_CASE("link estimate: the kernel's words count for what they are") {
  DirectionEstimate direction;
  TcpSample sample;
  sample.at_s = 1;
  sample.delivery_bps = 30e6;
  sample.app_limited = false;
  sample.rtt_s = 0.05;
  sample.min_rtt_s = 0.01;
  sample.bytes_acked = 1'000'000;
  sample.segments = 700;
  REQUIRE(direction.add(sample, 0.01));
  CHECK(direction.rate_bps() == 30e6);

  SUBCASE("an application-limited rate does not lower it, and raises it") {
    sample.app_limited = true;
    for (int i = 0; i < 100; ++i) {
      sample.at_s += 0.02;
      sample.delivery_bps = 1e6 + i;
      REQUIRE(direction.add(sample, 0.01));
    }
    CHECK(direction.rate_bps() == 30e6);
    sample.delivery_bps = 60e6;
    REQUIRE(direction.add(sample, 0.01));
    CHECK(direction.rate_bps() == 60e6);
  }
  SUBCASE("nor does one that only the congestion window limits: round trips do not grow") {
    sample.rtt_s = 0.011;
    for (int i = 0; i < 100; ++i) {
      sample.at_s += 0.02;
      sample.delivery_bps = 1e6 + i;
      REQUIRE(direction.add(sample, 0.01));
    }
    CHECK(direction.rate_bps() == 30e6);
  }
  SUBCASE("a figure that has not changed is no news") {
    const double updated = direction.state().updated_s;
    sample.at_s += 10;
    REQUIRE(direction.add(sample, 0.01));
    CHECK(direction.state().updated_s == updated);
  }
  SUBCASE("retransmissions are a share of recent segments") {
    for (int i = 0; i < 50; ++i) {
      sample.at_s += 0.02;
      sample.segments += 100;
      sample.retransmitted += 5;
      REQUIRE(direction.add(sample, 0.01));
    }
    CHECK(direction.state().retransmission == Approx(0.05));
  }
  SUBCASE("counters that fall are another connection's") {
    TcpSample other;
    other.at_s = 2;
    other.unacked = 100'000;
    REQUIRE(direction.add(other, 0.01));
    CHECK(direction.state().retransmission == 0);
    CHECK(direction.rate_bps() == 30e6);
  }
  SUBCASE("nonsense is refused") {
    sample.rtt_s = std::numeric_limits<double>::quiet_NaN();
    CHECK_FALSE(direction.add(sample, 0.01));
    sample.rtt_s = -1;
    CHECK_FALSE(direction.add(sample, 0.01));
  }
}
