// One layer out and back: sums, and every way in which it fails.

#include <atomic>
#include <cmath>
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

/// One part of a batch, for a test that keeps two under way.
struct Part {
  Part(Cell& cell, std::size_t of_layer, std::size_t rows, std::uint32_t seed)
      : layer(of_layer),
        x(test::random_rows(rows, kHidden, seed)),
        y(x.size(), 99.0f),
        selection(choose(*cell.fleet, of_layer, rows)) {}
  Result<void> begin(Cell& cell) {
    const std::size_t rows = x.size() / kHidden;
    return cell.fleet->begin(layer, selection, {x.data(), rows, kHidden}, {y.data(), rows, kHidden},
                             costs);
  }

  std::size_t layer;
  std::vector<float> x, y;
  Selection selection;
  StepCosts costs;
};

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
  auto options = cell.agent("patient");
  options.experts = test::planned_experts(cell.weights, 0, 1);
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
  auto options = cell.agent("juggler");
  options.experts = test::planned_experts(cell.weights, 0, 1);
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

TEST_CASE("fleet: an agent that dies in the middle of a layer fails it cleanly, by name") {
  Cell cell;
  auto options = cell.agent("mortal");
  options.experts = test::planned_experts(cell.weights, 0, 1);
  Puppet puppet(cell, options, [](Puppet& self) {
    self.greet();
    self.receive();       // the Dispatch …
    self.dealer.reset();  // … and gone
  });
  REQUIRE(cell.complete());
  const Outcome outcome =
      exchange(cell, 0, choose(*cell.fleet, 0, 3), test::random_rows(3, kHidden, 1));
  REQUIRE_FALSE(outcome.result);
  CHECK(outcome.result.error().code == Code::unavailable);
  CHECK(outcome.result.error().text.find("mortal") != std::string::npos);
  CHECK_FALSE(cell.fleet->complete());
}

TEST_CASE("fleet: an agent that dies with two exchanges under way fails both, and counts once") {
  Cell cell;
  auto options = cell.agent("mortal");
  options.experts = test::planned_experts(cell.weights, 0, 1);
  Puppet puppet(cell, options, [](Puppet& self) {
    self.greet();
    self.receive();
    self.receive();
    self.dealer.reset();
  });
  REQUIRE(cell.complete());
  Part first(cell, 0, 3, 1), second(cell, 1, 3, 2);
  REQUIRE(first.begin(cell));
  REQUIRE(second.begin(cell));
  const auto finished = cell.fleet->finish(first.costs);
  REQUIRE_FALSE(finished);
  CHECK(finished.error().code == Code::unavailable);
  CHECK_FALSE(cell.fleet->finish(second.costs));
  cell.fleet->abandon();
  CHECK(cell.fleet->snapshot().agents[0].failures == 1);
  CHECK_FALSE(cell.fleet->complete());
}

TEST_CASE("fleet: a hanging agent fails the layer at the deadline; its late answer is dropped") {
  Cell cell(DType::f32, std::nullopt, {}, milliseconds(50));
  auto options = cell.agent("sleeper");
  options.experts = test::planned_experts(cell.weights, 0, 1);
  EventFd gave_up;
  Puppet puppet(cell, options, [&](Puppet& self) {
    self.greet();
    const auto dispatch = self.receive();
    if (!dispatch || !std::holds_alternative<wire::Dispatch>(*dispatch)) return;
    const auto id = std::get<wire::Dispatch>(*dispatch).id;
    wire::WaitItem item{nullptr, gave_up.fd()};
    wire::wait({&item, 1}, std::chrono::seconds(20));
    self.greet();
    const MutableTensor rows = self.encoder.begin_rows(1, kHidden, DType::f32);
    std::fill_n(rows.data, rows.size_bytes(), std::byte{0});
    self.send(self.encoder.finish_result(id, 0, {}, {}));
    self.receive();
  });
  REQUIRE(cell.complete());
  const Outcome outcome =
      exchange(cell, 0, choose(*cell.fleet, 0, 1), test::random_rows(1, kHidden, 1));
  REQUIRE_FALSE(outcome.result);
  CHECK(outcome.result.error().code == Code::timeout);
  CHECK(outcome.result.error().text.find("sleeper") != std::string::npos);
  CHECK_FALSE(cell.fleet->complete());  // dropped until it says Hello again
  gave_up.signal();
  CHECK(cell.complete());
  CHECK(cell.until([&] { return cell.fleet->snapshot().agents[0].late == 1; }));
  cell.fleet->say_goodbye();
}

TEST_CASE("fleet: wrong answers fail the layer by name and reason") {
  struct Case {
    const char* name;
    std::function<Bytes(wire::Encoder&, std::uint64_t id)> answer;
    const char* says;
  };
  const auto filled = [](wire::Encoder& encoder, std::size_t rows, float value) {
    const MutableTensor out = encoder.begin_rows(rows, kHidden, DType::f32);
    for (std::size_t i = 0; i < rows * kHidden; ++i)
      std::memcpy(out.data + i * sizeof value, &value, sizeof value);
  };
  const Case cases[] = {
      {"no number",
       [&](auto& encoder, auto id) {
         filled(encoder, 1, std::nanf(""));
         return encoder.finish_result(id, 0, {}, {});
       },
       "not finite"},
      {"another shape",
       [&](auto& encoder, auto id) {
         filled(encoder, 2, 0);
         return encoder.finish_result(id, 0, {}, {});
       },
       "another shape"},
      {"refusal",
       [](auto& encoder, auto id) {
         return encoder.refusal(id, 0, wire::Status::backend_failed, "the GPU is gone");
       },
       "the GPU is gone"},
      {"malformed", [](auto& encoder, auto) { return encoder.ping(1).subspan(0, 10); },
       "bad frame"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Cell cell;
    auto options = cell.agent("liar");
    options.experts = test::planned_experts(cell.weights, 0, 1);
    Puppet puppet(cell, options, [&](Puppet& self) {
      self.greet();
      const auto dispatch = self.receive();
      if (dispatch && std::holds_alternative<wire::Dispatch>(*dispatch))
        self.send(c.answer(self.encoder, std::get<wire::Dispatch>(*dispatch).id));
      self.receive();  // keeps the connection until the test ends
    });
    REQUIRE(cell.complete());
    const Outcome outcome =
        exchange(cell, 0, choose(*cell.fleet, 0, 1), test::random_rows(1, kHidden, 1));
    REQUIRE_FALSE(outcome.result);
    CHECK(outcome.result.error().text.find("liar") != std::string::npos);
    CHECK(outcome.result.error().text.find(c.says) != std::string::npos);
    cell.fleet->say_goodbye();
  }
}

TEST_CASE("fleet: an agent whose answers are bad three times in a row is out for a while") {
  Cell cell;
  auto options = cell.agent("broken");
  options.experts = test::planned_experts(cell.weights, 0, 1);
  std::optional<wire::Welcome> second;
  EventFd done;
  Puppet puppet(cell, options, [&](Puppet& self) {
    self.greet();
    for (int answered = 0; answered < 3;) {
      const auto message = self.receive();
      if (!message) break;
      if (!std::holds_alternative<wire::Dispatch>(*message)) continue;
      const float nothing = std::nanf("");
      const MutableTensor out = self.encoder.begin_rows(1, kHidden, DType::f32);
      for (std::size_t i = 0; i < kHidden; ++i)
        std::memcpy(out.data + i * sizeof nothing, &nothing, sizeof nothing);
      self.send(self.encoder.finish_result(std::get<wire::Dispatch>(*message).id, 0, {}, {}));
      ++answered;
    }
    second = self.greet();
    done.signal();
  });
  REQUIRE(cell.complete());
  const Selection selection = choose(*cell.fleet, 0, 1);
  for (const Code code : {Code::bad_input, Code::bad_input, Code::unavailable}) {
    const Outcome outcome = exchange(cell, 0, selection, test::random_rows(1, kHidden, 1));
    REQUIRE_FALSE(outcome.result);
    CHECK(outcome.result.error().code == code);
  }
  CHECK_FALSE(cell.fleet->complete());
  const AgentSnapshot agent = cell.fleet->snapshot().agents.at(0);
  CHECK(agent.failures == 3);
  CHECK(agent.dispatches == 0);  // none was used
  CHECK(agent.bytes_sent > 3 * kHidden * sizeof(float));
  CHECK(agent.bytes_received > 3 * kHidden * sizeof(float));
  const int fds[] = {done.fd()};
  for (int round = 0; round < 400; ++round)
    if (cell.fleet->service(milliseconds(50), fds)) break;
  REQUIRE(second.has_value());
  CHECK(second->status == wire::Status::backend_failed);
  CHECK(second->message.find("not finite") != std::string::npos);
  cell.fleet->say_goodbye();
}

TEST_CASE("fleet: garbage and oversized frames from one peer do not disturb another") {
  Cell cell;
  auto options = cell.agent("worker");
  options.experts = test::planned_experts(cell.weights, 0, 1);
  const test::FakeAgent worker(cell.context, cell.weights, options);
  REQUIRE(cell.complete());
  auto noisy = cell.agent("noisy");
  noisy.experts = {{0, 0}};
  EventFd done;
  Puppet puppet(cell, noisy, [&](Puppet& self) {
    self.greet();
    for (int count = 0; count < 200; ++count) {
      const auto junk = test::random_rows(1, 1 + static_cast<std::size_t>(count) * 7, 1);
      self.send({reinterpret_cast<const std::byte*>(junk.data()), junk.size() * sizeof(float)});
    }
    const std::vector<std::byte> huge((std::size_t{40} << 20) + 1);
    self.send(huge);  // libzmq drops the connection
    done.signal();
  });
  // Keep working meanwhile; the worker is the first device, so it gets everything.
  const auto x = test::random_rows(4, kHidden, 9);
  const Selection selection = choose(*cell.fleet, 0, 4);
  const auto wanted = expected(cell.weights, 0, selection, x);
  const int fds[] = {done.fd()};
  bool finished = false;
  const Instant give_up = SteadyClock().now() + std::chrono::seconds(60);  // ends a failed test
  while (!finished && SteadyClock().now() < give_up) {
    const Outcome outcome = exchange(cell, 0, selection, x);
    REQUIRE_MESSAGE(outcome.result, outcome.result.error().text);
    REQUIRE(worst_difference(outcome.y, wanted) < 1e-5f);
    finished = cell.fleet->service(milliseconds(0), fds);
  }
  CHECK(finished);
  CHECK(cell.until([&] { return cell.fleet->snapshot().frames_refused >= 200; }));
}

TEST_CASE("fleet: a peer that never pauses does not suspend the deadline") {
  Cell cell(DType::f32, std::nullopt, {}, milliseconds(100));
  auto options = cell.agent("chatty");
  options.experts = test::planned_experts(cell.weights, 0, 1);
  std::atomic<bool> enough{false};
  Puppet puppet(cell, options, [&](Puppet& self) {
    self.greet();
    self.receive();  // the Dispatch, that it never answers
    while (!enough) static_cast<void>(self.dealer->send(self.encoder.ping(1)));
  });
  REQUIRE(cell.complete());
  const Outcome outcome =
      exchange(cell, 0, choose(*cell.fleet, 0, 1), test::random_rows(1, kHidden, 1));
  enough = true;
  REQUIRE_FALSE(outcome.result);
  CHECK(outcome.result.error().code == Code::timeout);
}

TEST_CASE("fleet: a waiting layer gives signs of life and is given up when told to") {
  Cell cell;
  int signs = 0;
  cell.options.turning = [&signs] { return ++signs < 4; };
  cell.restart();
  auto options = cell.agent("sleeper");
  options.experts = test::planned_experts(cell.weights, 0, 1);
  EventFd gave_up;
  Puppet puppet(cell, options, [&](Puppet& self) {
    self.greet();
    wire::WaitItem item{nullptr, gave_up.fd()};
    wire::wait({&item, 1}, std::chrono::seconds(20));
  });
  REQUIRE(cell.complete());
  const Outcome outcome =
      exchange(cell, 0, choose(*cell.fleet, 0, 1), test::random_rows(1, kHidden, 1));
  gave_up.signal();
  REQUIRE_FALSE(outcome.result);
  CHECK(outcome.result.error().code == Code::cancelled);
  CHECK(signs == 4);
}
