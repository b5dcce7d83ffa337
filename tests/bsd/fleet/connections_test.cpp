// What the fleet knows of agents' TCP connections, and does to them.

#include "bsd/fleet/connections.h"

#include "bsd/fleet/uplink_actuator.h"
#include "tests/bsd/fleet/cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

struct TcpCell : Cell {
  explicit TcpCell(Connections::PriorityOf priority_of = {})
      : Cell(DType::f16, std::nullopt, "tcp://127.0.0.1:*") {
    if (!priority_of) return;
    options.priority_of = std::move(priority_of);
    restart();
  }
  /// Exchanges until `done` of device 0's snapshot; the bound ends a failed test.
  template <class Done>
  bool exchange_until(const Done& done) {
    for (int round = 0; round < 20'000; ++round) {
      const auto outcome =
          exchange(*this, 0, choose(*fleet, 0, 4), test::random_rows(4, kHidden, 1));
      REQUIRE_MESSAGE(outcome.result, outcome.result.error().text);
      fleet->service(Nanoseconds(0), {});
      if (done(fleet->snapshot().agents[0])) return true;
    }
    return false;
  }
};

}  // namespace

TEST_CASE("connections: samples of both kernels reach the snapshot and the estimates") {
  TcpCell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  REQUIRE(cell.exchange_until([](const AgentSnapshot& a) { return a.downlink && a.uplink; }));
  const AgentSnapshot agent = cell.fleet->snapshot().agents[0];
  CHECK(agent.address == "127.0.0.1");
  CHECK(agent.paces);
  CHECK(agent.priority == 0);
  CHECK(agent.downlink->bytes_acked > 0);
  CHECK(agent.downlink->rtt_s > 0);
  CHECK(agent.uplink->bytes_acked > 0);
  CHECK(agent.uplink->rtt_s > 0);
  CHECK(cell.fleet->links().at(0).base_rtt_s > 0);
}

TEST_CASE("connections: over ipc nothing is known of them") {
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  REQUIRE(exchange(cell, 0, choose(*cell.fleet, 0, 4), test::random_rows(4, kHidden, 1)).result);
  const AgentSnapshot agent = cell.fleet->snapshot().agents[0];
  CHECK(agent.address.empty());
  CHECK_FALSE(agent.downlink);
  CHECK_FALSE(agent.uplink);
}

TEST_CASE("connections: a device's packets get its class, also after it reconnected") {
  TcpCell cell([](std::size_t device) { return static_cast<std::uint32_t>(2 + device); });
  auto fakes = std::make_unique<test::FakeFleet>(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  CHECK(cell.fleet->snapshot().agents[0].priority == 2);
  CHECK(cell.fleet->snapshot().agents[1].priority == 3);
  fakes.reset();
  REQUIRE(cell.until([&] { return !cell.fleet->snapshot().agents[0].up; }));
  CHECK(cell.fleet->snapshot().agents[0].priority == 0);
  CHECK(cell.fleet->snapshot().agents[0].address.empty());
  fakes = std::make_unique<test::FakeFleet>(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  CHECK(cell.fleet->snapshot().agents[0].priority == 2);
  CHECK(cell.fleet->snapshot().agents[1].priority == 3);
}

TEST_CASE("uplink: agents keep to their shares, and are free again after the last") {
  TcpCell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  UplinkActuator actuator(*cell.fleet);
  shaping::Plan plan;
  plan.number = 1;
  plan.shares.resize(1);
  plan.shares[0].up_bps = 50e6;
  REQUIRE(actuator.apply(plan));
  const auto paced_at = [](double bps) {
    return [bps](const AgentSnapshot& agent) {
      return agent.uplink && agent.uplink->pacing_bps == bps;
    };
  };
  REQUIRE(cell.exchange_until(paced_at(50e6)));
  std::vector<shaping::Observed> observed;
  REQUIRE(actuator.observe(observed));
  REQUIRE(observed.size() == 1);
  CHECK(observed[0].up_bps == 50e6);
  CHECK_FALSE(actuator.health().degraded);
  REQUIRE(actuator.restore());
  REQUIRE(cell.exchange_until(paced_at(0)));
  REQUIRE(actuator.observe(observed));
  CHECK(observed.empty());
}

TEST_CASE("uplink: says when an agent cannot obey") {
  Cell cell;  // over ipc
  const test::FakeFleet fakes(cell.context, cell.weights, 1, cell.agent());
  REQUIRE(cell.complete());
  UplinkActuator actuator(*cell.fleet);
  shaping::Plan plan;
  plan.shares.resize(1);
  plan.shares[0].up_bps = 50e6;
  REQUIRE(actuator.apply(plan));
  std::vector<shaping::Observed> observed;
  REQUIRE(actuator.observe(observed));
  CHECK_FALSE(observed.at(0).up_bps);
  CHECK(actuator.health().degraded);
  CHECK(actuator.health().reason.find("agent-0") != std::string::npos);
}
