// A real Server against a base station that the test plays.

#include <functional>

#include <doctest/doctest.h>

#include "tests/support/fake_fleet.h"
#include "tests/support/socket_control.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;

namespace {

struct Station {
  explicit Station(const std::string& endpoint = {}) {
    auto bound =
        wire::Router::bind(context, endpoint.empty() ? folder.ipc("station") : endpoint, {}, {});
    REQUIRE(bound);
    router = std::move(*bound);
  }
  /// The next message of this kind; the bound ends a failed test.
  template <class T>
  const T& next() {
    for (int round = 0; round < 2000; ++round) {
      while (router->receive(incoming)) {
        message = wire::decode(incoming.frame.bytes(), {});
        REQUIRE(message);
        if (std::holds_alternative<T>(*message)) return std::get<T>(*message);
      }
      wire::WaitItem item{router->handle()};
      wire::wait({&item, 1}, milliseconds(10));
    }
    FAIL("the agent stayed silent");
    return std::get<T>(*message);
  }
  void send(Bytes frame) { REQUIRE(router->send(incoming.peer, frame) == wire::Sent::ok); }
  void send_dispatch(std::uint64_t id) {
    const MutableTensor rows = encoder.begin_rows(1, 8, DType::f32);
    std::fill_n(rows.data, rows.size_bytes(), std::byte{0});
    const fb::Assignment wish(0, 0, 0, 1);
    send(encoder.finish_dispatch(id, 0, DType::f32, {&wish, 1}));
  }

  test::FakeAgentOptions agent() const {
    test::FakeAgentOptions options;
    options.endpoint = router->endpoint();
    options.experts = {{0, 0}};
    return options;
  }

  test::TempFolder folder;
  wire::Context context;
  std::unique_ptr<wire::Router> router;
  wire::Incoming incoming;
  wire::Encoder encoder;
  Result<wire::Message> message = fail(Code::unavailable, "none yet");
};

}  // namespace

TEST_CASE("server: says Hello, is not ready before Welcome, answers after it, says Goodbye") {
  Station station;
  const test::RandomExperts weights(1, 1, 8, 8);
  auto agent = std::make_unique<test::FakeAgent>(station.context, weights, station.agent());
  const auto& hello = station.next<wire::Hello>();
  CHECK(hello.name == "agent-0");
  CHECK(hello.experts.size() == 1);

  station.send_dispatch(1);
  CHECK(station.next<wire::ExpertResult>().status == wire::Status::not_ready);

  station.send(station.encoder.welcome({}));
  station.send_dispatch(2);
  const auto& result = station.next<wire::ExpertResult>();
  CHECK(result.id == 2);
  CHECK(result.status == wire::Status::ok);

  station.send(station.encoder.ping(9));
  CHECK(station.next<wire::Pong>().sequence == 9);

  agent.reset();
  CHECK(station.next<wire::Goodbye>().reason == "stopping");
}

TEST_CASE("server: paces its answers as told, until the share is over" *
          doctest::skip(!test::controls_sockets())) {
  Station station("tcp://127.0.0.1:*");
  const test::RandomExperts weights(1, 1, 8, 8);
  const test::FakeAgent agent(station.context, weights, station.agent());
  const auto& hello = station.next<wire::Hello>();
  CHECK((hello.features & wire::bit(fb::Feature::pacing)) != 0);
  station.send(station.encoder.welcome({}));
  std::uint64_t id = 0;
  const auto next_report = [&] {  // the bound ends a failed test
    for (int round = 0; round < 100'000; ++round) {
      station.send_dispatch(++id);
      if (const auto uplink = station.next<wire::ExpertResult>().telemetry.uplink) return *uplink;
    }
    FAIL("the agent reports nothing");
    return wire::Uplink{};
  };
  CHECK(next_report().pacing_kbps == 0);
  station.send(station.encoder.share({50'000, 60'000}));
  CHECK(next_report().pacing_kbps == 50'000);
  station.send(station.encoder.share({40'000, 1}));
  bool over = false;
  for (int round = 0; round < 100 && !over; ++round) over = next_report().pacing_kbps == 0;
  CHECK(over);
}

TEST_CASE("server: junk is answered with malformed, and work goes on") {
  Station station;
  const test::RandomExperts weights(1, 1, 8, 8);
  const test::FakeAgent agent(station.context, weights, station.agent());
  station.next<wire::Hello>();
  station.send(station.encoder.welcome({}));
  const auto junk = test::random_rows(1, 100, 3);
  station.send({reinterpret_cast<const std::byte*>(junk.data()), 400});
  const auto& refusal = station.next<wire::ExpertResult>();
  CHECK(refusal.status == wire::Status::malformed);
  CHECK(refusal.id == 0);
  station.send_dispatch(3);
  CHECK(station.next<wire::ExpertResult>().status == wire::Status::ok);
}

TEST_CASE("server: pings a quiet base station, says Hello again when asked to") {
  Station station;
  const test::RandomExperts weights(1, 1, 8, 8);
  const test::FakeAgent agent(station.context, weights, station.agent());
  station.next<wire::Hello>();
  wire::Welcome welcome;
  welcome.heartbeat_ms = 50;
  station.send(station.encoder.welcome(welcome));
  CHECK(station.next<wire::Ping>().sequence == 1);
  CHECK(station.next<wire::Ping>().sequence == 2);
  welcome.status = wire::Status::not_ready;
  station.send(station.encoder.welcome(welcome));
  CHECK(station.next<wire::Hello>().name == "agent-0");
}
