#include "sim/airlink/air.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace std::chrono_literals;
using airlink::Air;
using airlink::Flow;

namespace {

Flow flow_of(double mbit, Nanoseconds delay = 0ms) {
  Flow flow;
  flow.rate = BitsPerSecond(1e6 * mbit);
  flow.delay = delay;
  flow.queue_bytes = 1'000'000;
  return flow;
}

std::vector<std::byte> packet(std::size_t bytes, std::uint8_t mark = 0) {
  return std::vector<std::byte>(bytes, std::byte{mark});
}

/// All arrivals until nothing more happens, each taken at the very time the Air asked for.
std::vector<airlink::Arrival> drain(Air& air, Nanoseconds until = airlink::kNever) {
  std::vector<airlink::Arrival> arrivals;
  for (Nanoseconds now = air.next(); now != airlink::kNever && now <= until; now = air.next()) {
    auto arrival = air.take(now);
    for (; arrival; arrival = air.take(now)) arrivals.push_back(std::move(*arrival));
  }
  return arrivals;
}

}  // namespace

TEST_CASE("air: a packet arrives after its transmission and its delay") {
  Air air({flow_of(8, 5ms)}, false, 1);
  CHECK(air.next() == airlink::kNever);
  REQUIRE(air.offer(0, packet(1000), 2ms));  // 8000 bits at 8 Mbit/s: 1 ms
  CHECK(air.next() == 3ms);                  // end of transmission
  CHECK_FALSE(air.take(8ms - 1ns));
  CHECK(air.next() == 8ms);
  const auto arrival = air.take(8ms);
  REQUIRE(arrival);
  CHECK(arrival->due == 8ms);
  CHECK(arrival->bytes.size() == 1000);
}

TEST_CASE("air: a caller that comes late loses no capacity") {
  Air air({flow_of(8, 1ms)}, false, 1);
  for (int count = 0; count < 50; ++count) air.offer(0, packet(1000), 0ms);
  std::vector<Nanoseconds> due;
  for (auto arrival = air.take(60ms); arrival; arrival = air.take(60ms))
    due.push_back(arrival->due);
  REQUIRE(due.size() == 50);
  for (std::size_t index = 0; index < due.size(); ++index)
    CHECK(due[index] == static_cast<std::int64_t>(index + 2) * 1ms);
}

TEST_CASE("air: a full queue drops the newcomer, and an empty one takes any packet") {
  Flow flow = flow_of(8);
  flow.queue_bytes = 2500;
  Air air({flow}, false, 1);
  CHECK(air.offer(0, packet(1000, 1), 0ms));
  CHECK(air.offer(0, packet(1000, 2), 0ms));
  CHECK_FALSE(air.offer(0, packet(1000, 3), 0ms));
  CHECK(air.offer(0, packet(500, 4), 0ms));
  CHECK(drain(air).size() == 3);
  CHECK(air.offer(0, packet(4000), 1s));
  CHECK(drain(air).size() == 1);
  CHECK(air.counts(0).dropped == 1);
  CHECK(air.counts(0).packets_offered == 5);
  CHECK(air.counts(0).packets_delivered == 4);
  CHECK(air.counts(0).bytes_delivered == 6500);
}

TEST_CASE("air: a rate that changes in the middle of a packet holds for the rest of it") {
  Air air({flow_of(8)}, false, 1);
  air.offer(0, packet(10'000), 0ms);  // 10 ms at 8 Mbit/s
  air.offer(0, packet(1000), 0ms);
  air.change(0, flow_of(0.8), 4ms);  // 6 ms of work left: 60 ms
  const auto arrivals = drain(air);
  REQUIRE(arrivals.size() == 2);
  CHECK(arrivals[0].due == 64ms);
  CHECK(arrivals[1].due == 74ms);
}

TEST_CASE("air: an outage holds a packet back and lets it go on") {
  Air air({flow_of(8)}, false, 1);
  air.offer(0, packet(1000), 0ms);
  air.change(0, flow_of(0), 500us);
  CHECK(air.next() == airlink::kNever);
  air.change(0, flow_of(8), 1s);
  const auto arrivals = drain(air);
  REQUIRE(arrivals.size() == 1);
  CHECK(arrivals[0].due == 1s + 500us);
}

TEST_CASE("air: own bands do not disturb each other") {
  Air air({flow_of(8), flow_of(80)}, false, 1);
  air.offer(0, packet(1000), 0ms);
  air.offer(1, packet(1000), 0ms);
  const auto arrivals = drain(air);
  REQUIRE(arrivals.size() == 2);
  CHECK(arrivals[0].flow == 1);
  CHECK(arrivals[0].due == 100us);
  CHECK(arrivals[1].due == 1ms);
}

TEST_CASE("air: a shared medium gives airtime, not bytes, in equal parts") {
  // Two that always have something to send, one ten times faster; a third that starts late must
  // not get what it did not use before.
  Air air({flow_of(80), flow_of(8), flow_of(8)}, true, 1);
  for (int count = 0; count < 900; ++count)
    for (const std::size_t flow : {0u, 1u}) air.offer(flow, packet(1000), 0ms);
  drain(air, 100ms);
  CHECK(air.counts(0).airtime_s == doctest::Approx(0.05).epsilon(0.03));
  CHECK(air.counts(1).airtime_s == doctest::Approx(0.05).epsilon(0.03));
  CHECK(air.counts(0).packets_delivered ==
        doctest::Approx(10.0 * static_cast<double>(air.counts(1).packets_delivered)).epsilon(0.03));
  const double before = air.counts(1).airtime_s;
  for (int count = 0; count < 100; ++count) air.offer(2, packet(1000), 100ms);
  drain(air, 130ms);
  CHECK(air.counts(2).airtime_s == doctest::Approx(0.01).epsilon(0.15));
  CHECK(air.counts(1).airtime_s - before == doctest::Approx(0.01).epsilon(0.15));
}

TEST_CASE("air: a device without a link does not hold up the medium") {
  Air air({flow_of(8), flow_of(8)}, true, 1);
  air.offer(0, packet(1000), 0ms);
  air.change(0, flow_of(0), 100us);  // in the middle of its packet
  air.offer(1, packet(1000), 200us);
  const auto arrivals = drain(air);
  REQUIRE(arrivals.size() == 1);
  CHECK(arrivals[0].flow == 1);
  CHECK(arrivals[0].due == 1200us);
}

TEST_CASE("air: jitter spreads the delay and keeps the order") {
  Flow flow = flow_of(1000, 10ms);
  flow.jitter = 1ms;
  Air air({flow}, false, 7);
  constexpr int kPackets = 4000;
  for (int count = 0; count < kPackets; ++count)
    air.offer(0, packet(125), count * 20ms);  // far apart: none waits for the one before
  std::vector<double> delays;
  Nanoseconds last{0};
  for (const auto& arrival : drain(air)) {
    CHECK(arrival.due >= last);
    last = arrival.due;
    delays.push_back(
        in_seconds(arrival.due - static_cast<std::int64_t>(delays.size()) * 20ms - 1us));
  }
  REQUIRE(delays.size() == kPackets);
  double sum = 0, square = 0;
  for (const double delay : delays) sum += delay;
  const double mean = sum / kPackets;
  for (const double delay : delays) square += (delay - mean) * (delay - mean);
  // Standard errors: s/sqrt(n) of the mean, s/sqrt(2n) of the deviation; five of each.
  CHECK(std::abs(mean - 10e-3) < 5 * 1e-3 / std::sqrt(double{kPackets}));
  CHECK(std::abs(std::sqrt(square / kPackets) - 1e-3) < 5 * 1e-3 / std::sqrt(2.0 * kPackets));
}

TEST_CASE("air: loss takes its share, costs airtime and follows the seed") {
  Flow flow = flow_of(1000);
  flow.loss = 0.1;
  flow.queue_bytes = 10'000'000;
  constexpr int kPackets = 10'000;
  const auto marks = [&](std::uint64_t seed) {
    Air air({flow}, false, seed);
    std::vector<std::byte> seen;
    for (int count = 0; count < kPackets; ++count)
      air.offer(0, packet(125, static_cast<std::uint8_t>(count)), 0ms);
    for (const auto& arrival : drain(air)) seen.push_back(arrival.bytes[0]);
    CHECK(air.counts(0).lost + seen.size() == kPackets);
    CHECK(air.counts(0).airtime_s == doctest::Approx(kPackets * 1e-6));
    return seen;
  };
  const auto seen = marks(3);
  // Binomial: five standard deviations.
  CHECK(std::abs(static_cast<double>(seen.size()) - 9000) < 5 * std::sqrt(kPackets * 0.1 * 0.9));
  CHECK(seen == marks(3));
  CHECK(seen != marks(4));
}

TEST_CASE("air: nothing is lost or made up, whatever is offered when") {
  std::mt19937 random(11);
  const auto draw = [&](int most) {
    return static_cast<int>(random() % static_cast<unsigned>(most));
  };
  for (int run = 0; run < 200; ++run) {
    CAPTURE(run);
    std::vector<Flow> flows;
    for (int flow = 1 + draw(6); flow > 0; --flow) {
      flows.push_back(flow_of(draw(50), draw(20) * 1ms));
      flows.back().queue_bytes = static_cast<std::size_t>(2000 + draw(20'000));
      flows.back().loss = draw(2) * 0.2;
      flows.back().jitter = draw(2) * 3ms;
    }
    Air air(flows, draw(2) == 0, static_cast<std::uint64_t>(run));
    std::vector<Nanoseconds> last(flows.size());
    std::size_t delivered = 0;
    Nanoseconds now{0};
    const auto take = [&] {
      for (auto arrival = air.take(now); arrival; arrival = air.take(now), ++delivered) {
        CHECK(arrival->due <= now);
        CHECK(arrival->due >= last[arrival->flow]);
        last[arrival->flow] = arrival->due;
      }
    };
    for (int step = 0; step < 300; ++step, now += draw(3000) * 1us) {
      const auto flow = static_cast<std::size_t>(draw(static_cast<int>(flows.size())));
      if (draw(20) == 0) air.change(flow, flow_of(draw(50)), now);
      air.offer(flow, packet(static_cast<std::size_t>(40 + draw(1460))), now);
      take();
    }
    for (std::size_t flow = 0; flow < flows.size(); ++flow) air.change(flow, flow_of(10), now);
    now += 3600s;
    take();
    CHECK(air.next() == airlink::kNever);
    std::uint64_t offered = 0, gone = 0;
    for (std::size_t flow = 0; flow < flows.size(); ++flow) {
      offered += air.counts(flow).packets_offered;
      gone += air.counts(flow).dropped + air.counts(flow).lost;
    }
    CHECK(offered == 300);
    CHECK(offered == gone + delivered);
  }
}

TEST_CASE("histogram: quantiles are right to one part in a hundred") {
  airlink::Histogram histogram;
  CHECK(histogram.quantile(0.5) == 0ms);
  CHECK(histogram.mean() == 0ms);
  for (int value = 1; value <= 1000; ++value) histogram.add(value * 100us);
  for (const double share : {0.01, 0.5, 0.95, 0.99}) {
    CAPTURE(share);
    CHECK(in_seconds(histogram.quantile(share)) == doctest::Approx(share * 0.1).epsilon(0.011));
  }
  CHECK(histogram.quantile(1) == 100ms);
  CHECK(histogram.mean() == 50'050us);
  histogram.add(0ms);
  histogram.add(std::chrono::hours(1));
  CHECK(histogram.most() == std::chrono::hours(1));
  CHECK(histogram.count() == 1002);
}
