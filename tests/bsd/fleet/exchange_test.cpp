// One layer out and back: sums, what they cost, and two exchanges at once.

#include <cstring>

#include "tests/bsd/fleet/cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

TEST_CASE("fleet: sums equal the reference with 1, 2 and 4 agents") {
  for (const std::size_t agents : {1, 2, 4}) {
    CAPTURE(agents);
    Cell cell;
    const test::FakeFleet fakes(cell.context, cell.weights, agents, cell.agent());
    REQUIRE(cell.complete());
    for (std::size_t step = 0; step < 10; ++step) {
      const std::size_t layer = step % kLayers, rows = 1 + step * 5;
      const auto x = test::random_rows(rows, kHidden, step);
      const Selection selection = choose(*cell.fleet, layer, rows);
      const Outcome outcome = exchange(cell, layer, selection, x);
      REQUIRE_MESSAGE(outcome.result, outcome.result.error().text);
      // One rounding to f32 per agent's share and one per addition, of sums below 16.
      CHECK(worst_difference(outcome.y, expected(cell.weights, layer, selection, x)) < 1e-5f);
      CHECK(outcome.costs.round_trips == 1);
      CHECK(outcome.costs.messages >= 1);
      CHECK(outcome.costs.messages <= agents);
      CHECK(outcome.costs.bytes_sent > rows * kHidden * 4);
      CHECK(outcome.costs.bytes_received > rows * kHidden * 4);
    }
    const FleetSnapshot snapshot = cell.fleet->snapshot();
    REQUIRE(snapshot.agents.size() == agents);
    CHECK(snapshot.agents[0].name.rfind("agent-", 0) == 0);
    CHECK(snapshot.agents[0].up);
    CHECK(snapshot.agents[0].dispatches > 0);
    CHECK(snapshot.agents[0].bytes_received > 0);
  }
}

TEST_CASE("fleet: f16 rows cost half the bytes and keep three digits; huge values go as f32") {
  Cell cell(DType::f16);
  const test::FakeFleet fakes(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  auto x = test::random_rows(8, kHidden, 5);
  const Selection selection = choose(*cell.fleet, 0, 8);
  Outcome outcome = exchange(cell, 0, selection, x);
  REQUIRE(outcome.result);
  // 2^-11 relative, twice, of sums below 16, through weights of magnitude 1/2.
  CHECK(worst_difference(outcome.y, expected(cell.weights, 0, selection, x)) < 0.05f);
  const auto half = outcome.costs.bytes_sent;

  x[3] = 1e6f;  // beyond f16: this message goes as f32, and its answer comes as f32
  outcome = exchange(cell, 0, selection, x);
  REQUIRE(outcome.result);
  const auto wanted = expected(cell.weights, 0, selection, x);
  for (std::size_t i = 0; i < wanted.size(); ++i)
    CHECK(outcome.y[i] == doctest::Approx(wanted[i]).epsilon(2e-3).scale(1));
  CHECK(outcome.costs.bytes_sent > half);
}

TEST_CASE("fleet: equal sums each time, whatever the order of the answers") {
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 4, cell.agent());
  REQUIRE(cell.complete());
  const auto x = test::random_rows(16, kHidden, 3);
  const Selection selection = choose(*cell.fleet, 1, 16);
  const Outcome first = exchange(cell, 1, selection, x);
  REQUIRE(first.result);
  for (int repeat = 0; repeat < 50; ++repeat) {
    const Outcome again = exchange(cell, 1, selection, x);
    REQUIRE(again.result);
    REQUIRE(again.y == first.y);
  }
}

TEST_CASE("fleet: learns from answers what its devices cost; the silent cost what others do") {
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 4, cell.agent());
  REQUIRE(cell.complete());
  CHECK(cell.fleet->latencies().fixed_s.empty());
  const auto x = test::random_rows(1, kHidden, 3);
  Selection selection = choose(*cell.fleet, 0, 1);
  selection.resize(1);  // one device answers, three are never asked
  for (int repeat = 0; repeat < 20; ++repeat) {
    const Instant before = SteadyClock().now();
    const Outcome outcome = exchange(cell, 0, selection, x);
    REQUIRE(outcome.result);
    CHECK(cell.fleet->last_wait().blocked == outcome.costs.wire_wait);
    CHECK(cell.fleet->last_wait().response <= SteadyClock().now() - before);
  }
  const Latencies latencies = cell.fleet->latencies();
  REQUIRE(latencies.fixed_s.size() == 4);
  REQUIRE(latencies.per_row_s.size() == 4);
  for (std::size_t device = 0; device < 4; ++device) {
    CHECK(latencies.fixed_s[device] > 0);
    CHECK(latencies.fixed_s[device] == latencies.fixed_s[selection[0].device]);
    CHECK(latencies.per_row_s[device] == 0);  // single rows say nothing of a rate
  }
}

TEST_CASE("fleet: two exchanges under way give the sums of one after the other") {
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 4, cell.agent());
  REQUIRE(cell.complete());
  for (std::uint32_t step = 0; step < 10; ++step) {
    Part first(cell, 0, 1 + step, step), second(cell, 1, 20 - step, 100 + step);
    const auto alone = exchange(cell, 0, first.selection, first.x).y;
    const auto alone_too = exchange(cell, 1, second.selection, second.x).y;
    REQUIRE(first.begin(cell));
    REQUIRE(second.begin(cell));
    REQUIRE(cell.fleet->finish(first.costs));
    CHECK(first.y == alone);
    REQUIRE(first.begin(cell));  // its next layer, before the second part's answers are looked at
    REQUIRE(cell.fleet->finish(second.costs));
    CHECK(second.y == alone_too);
    REQUIRE(cell.fleet->finish(first.costs));
    CHECK(first.y == alone);
  }
  CHECK(cell.fleet->snapshot().agents[0].late == 0);
}

/// A vector of ones, `value` times.
void answer(Puppet& puppet, std::uint64_t id, float value) {
  const MutableTensor rows = puppet.encoder.begin_rows(1, kHidden, DType::f32);
  for (std::size_t i = 0; i < kHidden; ++i)
    std::memcpy(rows.data + i * sizeof value, &value, sizeof value);
  puppet.send(puppet.encoder.finish_result(id, 0, {}, {}));
}

TEST_CASE("fleet: waiting is what finish() waited; the devices' own time only if undisturbed") {
  Cell cell;
  EventFd waits;
  cell.options.turning = [&waits] {  // finish() has looked and found nothing
    waits.signal();
    return true;
  };
  cell.restart();
  auto options = cell.sole_agent("patient");
  Puppet puppet(cell, options, [&](Puppet& self) {
    self.greet();
    for (const std::size_t together : {1, 2}) {
      std::vector<std::uint64_t> ids;
      while (ids.size() < together) {
        const auto message = self.receive();
        if (!message) return;
        if (const auto* dispatch = std::get_if<wire::Dispatch>(&*message))
          ids.push_back(dispatch->id);
      }
      waits.clear();
      wire::WaitItem item{nullptr, waits.fd()};
      wire::wait({&item, 1}, std::chrono::seconds(20));
      for (auto id = ids.rbegin(); id != ids.rend(); ++id) answer(self, *id, 1.0f);
    }
    self.receive();  // keeps the connection until the test ends
  });
  REQUIRE(cell.complete());
  Part alone(cell, 0, 1, 1), first(cell, 0, 1, 2), second(cell, 0, 1, 3);
  const SteadyClock clock;
  Instant before = clock.now();
  REQUIRE(alone.begin(cell));
  REQUIRE(cell.fleet->finish(alone.costs));
  Waiting waiting = cell.fleet->last_wait();
  CHECK(waiting.blocked == alone.costs.wire_wait);
  CHECK(waiting.blocked.count() > 0);
  CHECK(waiting.response.count() > 0);
  CHECK(waiting.response <= clock.now() - before);

  REQUIRE(first.begin(cell));
  REQUIRE(second.begin(cell));
  REQUIRE(cell.fleet->finish(first.costs));
  CHECK(cell.fleet->last_wait().blocked == first.costs.wire_wait);
  before = clock.now();  // the second's answer came with the first's
  REQUIRE(cell.fleet->finish(second.costs));
  const Nanoseconds took = clock.now() - before;
  waiting = cell.fleet->last_wait();
  CHECK(waiting.blocked == second.costs.wire_wait);
  CHECK(waiting.blocked <= took);
  CHECK(waiting.response.count() == 0);  // it was sent behind the first
  cell.fleet->say_goodbye();
}

TEST_CASE("fleet: of two exchanges under way the younger may be answered first") {
  Cell cell;
  auto options = cell.sole_agent("juggler");
  Puppet puppet(cell, options, [](Puppet& self) {
    self.greet();
    std::vector<std::uint64_t> ids;
    while (ids.size() < 2) {
      const auto message = self.receive();
      if (!message) return;
      if (const auto* dispatch = std::get_if<wire::Dispatch>(&*message))
        ids.push_back(dispatch->id);
    }
    for (const std::size_t which : {1, 0})  // the answer tells whose it is
      answer(self, ids[which], static_cast<float>(which + 1));
    self.receive();  // keeps the connection until the test ends
  });
  REQUIRE(cell.complete());
  Part first(cell, 0, 1, 1), second(cell, 0, 1, 2);
  REQUIRE(first.begin(cell));
  REQUIRE(second.begin(cell));
  REQUIRE(cell.fleet->finish(first.costs));
  REQUIRE(cell.fleet->finish(second.costs));
  CHECK(first.y == std::vector<float>(kHidden, 1.0f));
  CHECK(second.y == std::vector<float>(kHidden, 2.0f));
  cell.fleet->say_goodbye();
}

TEST_CASE("fleet: what is abandoned under way is dropped as late and disturbs nothing") {
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 1, cell.agent());
  REQUIRE(cell.complete());
  Part first(cell, 0, 3, 1), second(cell, 1, 3, 2);
  const auto alone = exchange(cell, 1, second.selection, second.x).y;
  REQUIRE(first.begin(cell));
  REQUIRE(second.begin(cell));
  cell.fleet->abandon();
  REQUIRE(second.begin(cell));
  REQUIRE(cell.fleet->finish(second.costs));
  CHECK(second.y == alone);
  CHECK(cell.until([&] { return cell.fleet->snapshot().agents[0].late == 2; }));
}

TEST_CASE("fleet: learns no rate from an exchange that queues behind another") {
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 1, cell.agent());
  REQUIRE(cell.complete());
  for (std::uint32_t turn = 0; turn < 40; ++turn) {
    Part first(cell, 0, 1, turn), second(cell, 1, 40, turn);  // so many rows would tell of a rate
    REQUIRE(first.begin(cell));
    REQUIRE(second.begin(cell));
    REQUIRE(cell.fleet->finish(first.costs));
    REQUIRE(cell.fleet->finish(second.costs));
  }
  const auto links = cell.fleet->links();
  REQUIRE(links.size() == 1);
  CHECK(links[0].known);
  CHECK(links[0].link.per_row_s == 0);
  CHECK_FALSE(links[0].down.measured);
  CHECK(links[0].rows > 1);
  CHECK(links[0].rows < 40);
}
