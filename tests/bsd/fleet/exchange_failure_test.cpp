// One layer out and back: every way in which it fails.

#include <atomic>
#include <cstring>

#include "tests/bsd/fleet/cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

TEST_CASE("fleet: an agent that dies in the middle of a layer fails it cleanly, by name") {
  Cell cell;
  auto options = cell.sole_agent("mortal");
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
  auto options = cell.sole_agent("mortal");
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
  auto options = cell.sole_agent("sleeper");
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
    auto options = cell.sole_agent("liar");
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
  auto options = cell.sole_agent("broken");
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
  auto options = cell.sole_agent("worker");
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
  auto options = cell.sole_agent("chatty");
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
  auto options = cell.sole_agent("sleeper");
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
