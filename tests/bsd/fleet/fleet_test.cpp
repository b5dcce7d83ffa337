// The base station and real agents, in one process: sums, refusals, losses, returns.

#include "bsd/fleet/fleet.h"

#include <cmath>
#include <functional>
#include <thread>

#include <doctest/doctest.h>
#include <unistd.h>

#include "common/event_fd.h"
#include "kernels/expert_backend.h"
#include "tests/support/fake_fleet.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

constexpr std::size_t kLayers = 2, kExperts = 4, kHidden = 24, kFfn = 16;

std::string fresh_endpoint() {
  static int count = 0;
  return "ipc:///tmp/wdmoe-fleet-test-" + std::to_string(::getpid()) + "-" +
         std::to_string(++count);
}

struct Cell {
  explicit Cell(DType wire = DType::f32, std::optional<wire::ServerKeys> keys = std::nullopt,
                std::string at = fresh_endpoint(), milliseconds deadline = milliseconds(20'000)) {
    options.endpoint = std::move(at);
    options.wire = wire;
    options.keys = std::move(keys);
    options.deadline = deadline;
    options.heartbeat = milliseconds(200);
    open();
  }

  void open() {
    Result<std::unique_ptr<Fleet>> opened = fail(Code::io, "not tried");
    // The port of a fleet that was just closed is free a moment later.
    for (int attempt = 0; attempt < 100'000 && !opened; ++attempt)
      opened = Fleet::open(context, options, {"fake-model", kLayers, kExperts, kHidden}, clock);
    REQUIRE_MESSAGE(opened.has_value(), opened.error().text);
    fleet = std::move(*opened);
  }
  void restart() {
    options.endpoint = fleet->endpoint();
    fleet.reset();
    open();
  }

  test::FakeAgentOptions agent(const std::string& name = "agent-0") const {
    test::FakeAgentOptions agent;
    agent.endpoint = fleet->endpoint();
    agent.name = name;
    return agent;
  }

  /// Services the fleet until `done`; the bound only ends a test that has failed.
  bool until(const std::function<bool()>& done) {
    for (int round = 0; round < 400 && !done(); ++round) fleet->service(milliseconds(50), {});
    return done();
  }
  bool complete() {
    return until([&] { return fleet->complete(); });
  }

  test::RandomExperts weights{kLayers, kExperts, kHidden, kFfn};
  SteadyClock clock;
  wire::Context context;
  FleetOptions options;
  std::unique_ptr<Fleet> fleet;
};

/// Every row visits two experts, on the first device that holds each.
Selection choose(const Fleet& fleet, std::size_t layer, std::size_t rows) {
  Selection selection;
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t pick = 0; pick < 2; ++pick) {
      const std::size_t expert = (row * 3 + pick * 2 + row / 2) % kExperts;
      const auto& holders = fleet.holders(layer)[expert];
      selection.push_back({static_cast<std::uint32_t>(row), static_cast<std::uint16_t>(expert),
                           holders.empty() ? kNobody : holders.front(), pick == 0 ? 0.75f : 0.25f});
    }
  return selection;
}

/// The same sum by the reference, in this thread.
std::vector<float> expected(const test::RandomExperts& weights, std::size_t layer,
                            const Selection& selection, const std::vector<float>& x) {
  auto backend = kernels::make_reference_backend();
  std::vector<std::vector<kernels::RowWeight>> rows(kExperts);
  std::vector<kernels::ExpertWork> work;
  for (const Choice& choice : selection) rows[choice.expert].push_back({choice.row, choice.weight});
  for (std::size_t expert = 0; expert < kExperts; ++expert)
    work.push_back({*backend->load(weights.at(layer, expert)), rows[expert]});
  std::vector<float> y(x.size());
  bool overflowed = false;
  const Tensor in{reinterpret_cast<const std::byte*>(x.data()), DType::f32, x.size() / kHidden,
                  kHidden};
  const MutableTensor out{reinterpret_cast<std::byte*>(y.data()), DType::f32, in.rows, kHidden};
  REQUIRE(backend->run(work, in, out, overflowed));
  return y;
}

struct Outcome {
  Result<void> result;
  std::vector<float> y;
  StepCosts costs;
};

Outcome exchange(Cell& cell, std::size_t layer, const Selection& selection, std::vector<float> x) {
  Outcome outcome;
  outcome.y.assign(x.size(), 99.0f);
  outcome.result =
      cell.fleet->exchange(layer, selection, {x.data(), x.size() / kHidden, kHidden},
                           {outcome.y.data(), x.size() / kHidden, kHidden}, outcome.costs);
  return outcome;
}

float worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

/// A peer whose every move the test decides; `script` runs in its own thread.
class Puppet {
 public:
  Puppet(Cell& cell, test::FakeAgentOptions options, std::function<void(Puppet&)> script)
      : hello(test::hello_of(cell.weights, options)), options_(std::move(options)), cell_(cell) {
    connect();
    thread_ = std::thread([this, script] { script(*this); });
  }
  ~Puppet() { thread_.join(); }

  void connect() {
    dealer.reset();
    auto opened = wire::Dealer::connect(cell_.context, options_.endpoint, options_.keys, {});
    if (opened) dealer = std::move(*opened);
  }
  /// Sends as soon as there is a connection.
  void send(Bytes message) {
    while (dealer->send(message) != wire::Sent::ok) std::this_thread::yield();
  }
  /// The next message that is no Ping; nothing if none comes for long.
  std::optional<wire::Message> receive() {
    for (int round = 0; round < 100; ++round) {
      while (dealer->receive(frame)) {
        auto message = wire::decode(frame.bytes(), {});
        if (message && !std::holds_alternative<wire::Ping>(*message)) return *message;
      }
      wire::WaitItem item{dealer->handle()};
      wire::wait({&item, 1}, milliseconds(200));
    }
    return std::nullopt;
  }
  std::optional<wire::Welcome> greet() {
    send(encoder.hello(hello));
    const auto answer = receive();
    if (!answer || !std::holds_alternative<wire::Welcome>(*answer)) return std::nullopt;
    return std::get<wire::Welcome>(*answer);
  }

  wire::Hello hello;
  wire::Encoder encoder;
  wire::Frame frame;
  std::unique_ptr<wire::Dealer> dealer;

 private:
  test::FakeAgentOptions options_;
  Cell& cell_;
  std::thread thread_;
};

/// What the base station answers to this Hello.
wire::Welcome verdict_on(Cell& cell, const std::function<void(wire::Hello&)>& change,
                         test::FakeAgentOptions options) {
  std::optional<wire::Welcome> welcome;
  EventFd done;
  Puppet puppet(cell, std::move(options), [&](Puppet& self) {
    change(self.hello);
    welcome = self.greet();
    done.signal();
  });
  const int fds[] = {done.fd()};
  for (int round = 0; round < 400; ++round)
    if (cell.fleet->service(milliseconds(50), fds)) break;
  REQUIRE(welcome.has_value());
  return *welcome;
}

}  // namespace

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

TEST_CASE("fleet: a Hello that does not fit is refused with its status") {
  struct Case {
    const char* name;
    std::function<void(wire::Hello&)> change;
    wire::Status status;
    const char* says;
  };
  const Case cases[] = {
      {"good", [](auto&) {}, wire::Status::ok, "welcome"},
      {"newer protocol", [](auto& hello) { hello.protocol_min = 7, hello.protocol_max = 9; },
       wire::Status::bad_version, "7 to 9"},
      {"another model", [](auto& hello) { hello.model_id = "other"; }, wire::Status::wrong_model,
       "other"},
      {"another width", [](auto& hello) { hello.hidden_dim = 25; }, wire::Status::bad_shape, "25"},
      {"only bf16", [](auto& hello) { hello.dtypes = {DType::bf16}; }, wire::Status::bad_shape,
       "f32"},
      {"an expert too many",
       [](auto& hello) {
         hello.experts.push_back({0, kExperts});
       },
       wire::Status::unknown_expert, "expert 4"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Cell cell;
    auto options = cell.agent();
    options.experts = {{0, 0}};
    const wire::Welcome welcome = verdict_on(cell, c.change, options);
    CHECK(welcome.status == c.status);
    CHECK(welcome.message.find(c.says) != std::string::npos);
  }
}

TEST_CASE("fleet: a second agent of one name is refused, the same process is let back in") {
  Cell cell;
  auto options = cell.agent("twin");
  options.instance = 41;
  options.experts = test::planned_experts(cell.weights, 0, 1);
  const test::FakeAgent first(cell.context, cell.weights, options);
  REQUIRE(cell.complete());

  const auto nothing = [](wire::Hello&) {};
  options.instance = 42;
  CHECK(verdict_on(cell, nothing, options).status == wire::Status::duplicate_identity);
  CHECK(cell.fleet->complete());
  options.instance = 41;  // the radio dropped; the old connection has not noticed yet
  CHECK(verdict_on(cell, nothing, options).status == wire::Status::ok);
  CHECK(cell.fleet->roster().devices().size() == 1);
}

TEST_CASE("fleet: an expert that nobody holds is named") {
  Cell cell;
  CHECK(cell.fleet->missing().find(
            "8 of 8 experts have no agent: layer 0: 0, 1, 2, 3; layer 1: 0") != std::string::npos);
  const Outcome outcome =
      exchange(cell, 0, choose(*cell.fleet, 0, 1), test::random_rows(1, kHidden, 1));
  REQUIRE_FALSE(outcome.result);
  CHECK(outcome.result.error().code == Code::unavailable);
  CHECK(outcome.result.error().text.find("no agent") != std::string::npos);
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

TEST_CASE("fleet: a hanging agent fails the layer at the deadline; its late answer is dropped") {
  Cell cell(DType::f32, std::nullopt, fresh_endpoint(), milliseconds(50));
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
  for (int round = 0; round < 4000 && !finished; ++round) {
    const Outcome outcome = exchange(cell, 0, selection, x);
    REQUIRE_MESSAGE(outcome.result, outcome.result.error().text);
    REQUIRE(worst_difference(outcome.y, wanted) < 1e-5f);
    finished = cell.fleet->service(milliseconds(0), fds);
  }
  CHECK(finished);
  CHECK(cell.until([&] { return cell.fleet->snapshot().frames_refused >= 200; }));
}

TEST_CASE("fleet: agents come back after the base station was restarted") {
  Cell cell(DType::f32, std::nullopt, "tcp://127.0.0.1:*");
  const test::FakeFleet fakes(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  cell.restart();
  CHECK_FALSE(cell.fleet->complete());
  REQUIRE(cell.complete());
  const Selection selection = choose(*cell.fleet, 0, 2);
  CHECK(exchange(cell, 0, selection, test::random_rows(2, kHidden, 1)).result);
}

TEST_CASE("fleet: an agent that stops says Goodbye and leaves its experts homeless") {
  Cell cell;
  test::FakeFleet fakes(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  fakes.stop(1);
  CHECK(cell.until([&] { return !cell.fleet->complete(); }));
  CHECK(cell.fleet->missing().find("4 of 8") != std::string::npos);
  CHECK(cell.fleet->holders(0)[0].size() == 1);
}

TEST_CASE("fleet: CURVE lets listed keys in under their own name only") {
  const auto server = wire::make_keys(), listed = wire::make_keys(), stranger = wire::make_keys();
  REQUIRE((server && listed && stranger));
  Cell cell(DType::f32,
            wire::ServerKeys{server->secret,
                             {{listed->public_key, "jetson"}, {std::string(40, '0'), "x"}}},
            "tcp://127.0.0.1:*");
  auto options = cell.agent("jetson");
  options.experts = test::planned_experts(cell.weights, 0, 1);

  options.keys = wire::ClientKeys{*stranger, server->public_key};
  {
    const test::FakeAgent outsider(cell.context, cell.weights, options);
    CHECK(cell.until([&] { return cell.fleet->keys_refused() >= 1; }));
    CHECK(cell.fleet->roster().devices().empty());
  }
  options.keys = wire::ClientKeys{*listed, server->public_key};
  {
    auto impostor = options;
    impostor.name = "other";
    const auto welcome = verdict_on(
        cell, [](wire::Hello&) {}, impostor);
    CHECK(welcome.status == wire::Status::denied);
    CHECK(welcome.message.find("jetson") != std::string::npos);
  }
  const test::FakeAgent agent(cell.context, cell.weights, options);
  REQUIRE(cell.complete());
  CHECK(exchange(cell, 0, choose(*cell.fleet, 0, 2), test::random_rows(2, kHidden, 1)).result);
}
