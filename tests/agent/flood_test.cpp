// A base station that never pauses keeps the agent from neither its stop nor its watchdog.

#include <atomic>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/fake_fleet.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;

namespace {

constexpr std::size_t kFloodHidden = 128, kFloodRows = 16;

/// Welcomes one agent, then sends it Dispatches faster than it can answer them until told to stop.
class Flood {
 public:
  explicit Flood(const std::string& endpoint) {
    auto bound = wire::Router::bind(context, endpoint, {}, {});
    REQUIRE(bound);
    router_ = std::move(*bound);
    thread_ = std::thread([this] { run(); });
  }
  ~Flood() {
    over = true;
    thread_.join();
  }

  wire::Context context;
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> sent{0};

 private:
  void run() {
    wire::Incoming incoming;
    wire::Encoder encoder;
    while (!over && !router_->receive(incoming)) std::this_thread::yield();
    static_cast<void>(router_->send(incoming.peer, encoder.welcome({})));
    const MutableTensor rows = encoder.begin_rows(kFloodRows, kFloodHidden, DType::f32);
    std::fill_n(rows.data, rows.size_bytes(), std::byte{0});
    std::vector<fb::Assignment> wishes;
    for (std::uint32_t row = 0; row < kFloodRows; ++row) wishes.emplace_back(row, 0, 0, 1);
    const Bytes dispatch = encoder.finish_dispatch(1, 0, DType::f32, wishes);
    while (!over) {
      if (router_->send(incoming.peer, dispatch) == wire::Sent::ok) ++sent;
      router_->receive(incoming);  // or its answers would fill the queues
    }
  }

  std::unique_ptr<wire::Router> router_;
  std::thread thread_;
};

/// Until `done`, or `most` further Dispatches have been taken: a bound that a slow machine does not
/// move.
bool until(const Flood& flood, std::uint64_t most, const std::function<bool()>& done) {
  const std::uint64_t end = flood.sent + most;
  while (!done() && flood.sent < end) std::this_thread::yield();
  return done();
}

}  // namespace

TEST_CASE("server: a flood of frames suspends neither the watchdog nor the stop") {
  const test::TempFolder folder;
  const test::RandomExperts weights(1, 1, kFloodHidden, 128);
  test::FakeAgentOptions options;
  options.endpoint = "ipc://" + (folder.path() / "flood").string();
  options.experts = {{0, 0}};
  options.spin = microseconds(50);
  std::atomic<int> alive{0};
  options.watchdog = milliseconds(20);
  options.alive = [&alive] { ++alive; };

  Flood flood(options.endpoint);
  auto agent = std::make_unique<test::FakeAgent>(flood.context, weights, options);
  // The agent looks around every 50 ms; a Dispatch takes it a millisecond or so.
  constexpr std::uint64_t kMost = 5'000;
  REQUIRE(
      until(flood, std::numeric_limits<std::uint32_t>::max(), [&] { return flood.sent > 100; }));
  const int before = alive;
  CHECK(until(flood, kMost, [&] { return alive >= before + 3; }));
  const std::uint64_t asked = flood.sent;
  agent.reset();  // asks it to stop and waits for it
  CHECK(flood.sent - asked < kMost);
}
