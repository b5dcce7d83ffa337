#pragma once
// A base station's fleet under test, and peers whose every move a test decides.

#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/fleet/fleet.h"
#include "common/event_fd.h"
#include "kernels/expert_backend.h"
#include "tests/support/fake_fleet.h"
#include "tests/support/temp_folder.h"

namespace wdmoe::bsd {

constexpr std::size_t kLayers = 2, kExperts = 4, kHidden = 24, kFfn = 16;

struct Cell {
  explicit Cell(DType wire = DType::f32, std::optional<wire::ServerKeys> keys = std::nullopt,
                std::string at = {}, milliseconds deadline = milliseconds(20'000)) {
    options.endpoint = at.empty() ? folder.ipc("fleet") : std::move(at);
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
  /// Of one that holds every expert.
  test::FakeAgentOptions sole_agent(const std::string& name) const {
    test::FakeAgentOptions sole = agent(name);
    sole.experts = test::planned_experts(weights, 0, 1);
    return sole;
  }

  /// Services the fleet until `done`; the bound only ends a test that has failed.
  bool until(const std::function<bool()>& done) {
    for (int round = 0; round < 400 && !done(); ++round) fleet->service(milliseconds(50), {});
    return done();
  }
  bool complete() {
    return until([&] { return fleet->complete(); });
  }

  test::TempFolder folder;
  test::RandomExperts weights{kLayers, kExperts, kHidden, kFfn};
  SteadyClock clock;
  wire::Context context;
  FleetOptions options;
  std::unique_ptr<Fleet> fleet;
};

/// Every row visits two experts, on the first device that holds each.
inline Selection choose(const Fleet& fleet, std::size_t layer, std::size_t rows) {
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
inline std::vector<float> expected(const test::RandomExperts& weights, std::size_t layer,
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

inline Outcome exchange(Cell& cell, std::size_t layer, const Selection& selection,
                        std::vector<float> x) {
  Outcome outcome;
  outcome.y.assign(x.size(), 99.0f);
  outcome.result =
      cell.fleet->begin(layer, selection, {x.data(), x.size() / kHidden, kHidden},
                        {outcome.y.data(), x.size() / kHidden, kHidden}, outcome.costs);
  if (outcome.result) outcome.result = cell.fleet->finish(outcome.costs);
  if (!outcome.result) cell.fleet->abandon();
  return outcome;
}

inline float worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
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

/// What the base station answers to this Hello.
inline wire::Welcome verdict_on(Cell& cell, const std::function<void(wire::Hello&)>& change,
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

}  // namespace wdmoe::bsd
