// The wifi actuator against real mac80211: tests/vm/run boots a machine with an access point wlan0
// and stations 10.9.0.2 and .3 on mac80211_hwsim, whose driver has no airtime weights.  Elsewhere
// it is skipped.

#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <cstdlib>

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bsd/shaping/probe.h"
#include "bsd/shaping/wifi.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::shaping;

namespace {

constexpr int kSkipped = 77;
constexpr const char* kAccessPoint = "wlan0";
constexpr TransmitQueues kOurs{4096, 600};

struct Air {
  RouteSocket route = require(RouteSocket::open());
  Nl80211Socket nl80211 = require(Nl80211Socket::open());
  Interface interface;
  WirelessInterface wireless;

  explicit Air(const char* name)
      : interface(require(route.find(name))), wireless(require(nl80211.describe(interface))) {}
  TransmitQueues queues() { return require(nl80211.facts(wireless.radio)).queues; }
};

Plan plan_of() {
  Plan plan;
  for (const char* address : {"10.9.0.2", "10.9.0.3"}) {
    Share share;
    share.slot = plan.shares.size();
    share.agent = "agent-" + std::to_string(share.slot);
    share.address = address;
    share.airtime = share.slot == 0 ? 0.2 : 0.6;
    plan.shares.push_back(share);
  }
  return plan;
}

std::unique_ptr<Wifi> opened(const std::filesystem::path& state) {
  return require(Wifi::open({kAccessPoint, state, kOurs}));
}

}  // namespace

TEST_CASE("wifi: an access point's stations are seen with what nl80211 tells") {
  Air air(kAccessPoint);
  CHECK(air.wireless.access_point);
  const auto stations = air.nl80211.stations(air.interface);
  REQUIRE(stations);
  REQUIRE(stations->size() == 2);
  for (const Station& each : *stations) {
    CHECK(each.address.text().rfind("02:00:00:00:0", 0) == 0);  // hwsim's
    CHECK(each.sample.signal_dbm < 0);
    CHECK(each.sample.tx_bps >= 1e6);
    CHECK(each.sample.rx_bps >= 1e6);
    CHECK(each.sent_bytes > 0);
    CHECK(each.sample.inactive_s < 300);
  }
  CHECK(air.nl80211.describe(require(air.route.find("lo"))).error().code == Code::unsupported);
}

TEST_CASE("wifi: queue bounds are set, read back and put back; weights fall back") {
  Air air(kAccessPoint);
  const test::TempFolder state;
  const TransmitQueues before = air.queues();
  REQUIRE(before.limit_packets);  // the 6.12 kernel has them for hwsim
  const auto wifi = opened(state.path());
  CHECK(air.queues().limit_packets == before.limit_packets);  // opened, it has done nothing
  REQUIRE(wifi->apply(plan_of()));
  CHECK(air.queues().limit_packets == kOurs.limit_packets);
  CHECK(air.queues().quantum_bytes == kOurs.quantum_bytes);
  CHECK(wifi->health().degraded);
  CHECK(wifi->health().reason.find("airtime") != std::string::npos);
  std::vector<Observed> seen;
  REQUIRE(wifi->observe(seen));
  REQUIRE(seen.size() == 2);
  for (const Observed& each : seen) {  // the neighbour table led to the stations
    REQUIRE(each.station);
    CHECK(each.station->signal_dbm < 0);
  }
  const auto second = Wifi::open({kAccessPoint, state.path(), kOurs});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::busy);
  REQUIRE(wifi->restore());
  CHECK(wifi->restore());
  CHECK(air.queues().limit_packets == before.limit_packets);
  CHECK(air.queues().quantum_bytes == before.quantum_bytes);
  CHECK_FALSE(*Records(state.path()).read("wifi", kAccessPoint));
}

TEST_CASE("wifi: this driver refuses the airtime message itself") {
  Air air(kAccessPoint);
  const auto stations = require(air.nl80211.stations(air.interface));
  Batch batch;
  batch.add(airtime_weight_message(air.nl80211.family(), air.interface.index,
                                   stations.at(0).address, 384),
            "airtime weight");
  const auto refused = air.nl80211.transact(batch);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::unsupported);
}

TEST_CASE("wifi: what a killed wdmoe changed is put back") {
  Air air(kAccessPoint);
  const test::TempFolder state;
  const TransmitQueues before = air.queues();
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    auto wifi = Wifi::open({kAccessPoint, state.path(), kOurs});
    const bool fine = wifi && (*wifi)->apply(plan_of());
    (void)!write(ready[1], fine ? "y" : "n", 1);
    pause();
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  CHECK_FALSE(reset_wifi(kAccessPoint, Records(state.path())));  // it lives
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK(air.queues().limit_packets == kOurs.limit_packets);
  SUBCASE("wdmoe radio reset") {
    const auto done = reset_wifi(kAccessPoint, Records(state.path()));
    REQUIRE(done);
    CHECK(*done);
    CHECK_FALSE(*reset_wifi(kAccessPoint, Records(state.path())));
  }
  SUBCASE("a restarted daemon") {
    (void)opened(state.path());
  }
  CHECK(air.queues().limit_packets == before.limit_packets);
}

TEST_CASE("wifi: what is no access point is refused with a reason") {
  const test::TempFolder state;
  for (const char* name : {"lo", "nowhere0", "a/b"}) {
    const auto wifi = Wifi::open({name, state.path(), {}});
    REQUIRE_FALSE(wifi);
    CHECK(wifi.error().text.find(name) != std::string::npos);
  }
}

TEST_CASE("probe: radio features of the access point") {
  const auto findings = probe(kAccessPoint);
  REQUIRE(findings);
  REQUIRE(findings->radio);
  CHECK(findings->radio->access_point);
  CHECK_FALSE(findings->radio->airtime_fairness);
  CHECK(findings->htb == true);
  CHECK(findings->fq == true);
  CHECK(findings->fq_codel == true);
  CHECK(findings->ifb == true);
}

// In a station's namespace: tests/vm/init names the case.
TEST_CASE("power save: read, turned off and on again" * doctest::skip()) {
  Air air("wlan1");
  CHECK_FALSE(air.wireless.access_point);
  const auto before = air.nl80211.power_save(air.interface);
  REQUIRE(before);
  REQUIRE(*before);
  for (const bool on : {false, true, **before}) {
    Batch batch;
    batch.add(power_save_message(air.nl80211.family(), air.interface.index, on), "power save");
    REQUIRE(air.nl80211.transact(batch));
    CHECK(*require(air.nl80211.power_save(air.interface)) == on);
  }
  const test::TempFolder state;
  const auto wifi = Wifi::open({"wlan1", state.path(), {}});
  REQUIRE_FALSE(wifi);
  CHECK(wifi.error().code == Code::unsupported);
}

int main(int argc, char** argv) {
  if (std::getenv("WDMOE_VM") == nullptr) {
    std::puts("skipped: needs the virtual machine of tests/vm");
    return kSkipped;
  }
  doctest::Context context(argc, argv);
  return context.run();
}
