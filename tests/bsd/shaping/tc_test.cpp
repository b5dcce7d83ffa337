// The tc actuator against the kernel, in network namespaces of its own; skipped where those are not
// permitted.

#define DOCTEST_CONFIG_IMPLEMENT
#include "bsd/shaping/tc.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bsd/shaping/classes.h"
#include "bsd/shaping/probe.h"
#include "tests/support/network_namespace.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::shaping;
using test::Pair;

namespace {

constexpr int kSkipped = 77;

Plan plan_of(const std::vector<double>& shares) {
  Plan plan;
  for (const double bps : shares) {
    Share share;
    share.slot = plan.shares.size();
    share.agent = "agent-" + std::to_string(share.slot);
    share.address = Pair::far_address(static_cast<int>(share.slot));
    share.down_bps = share.down_ceiling_bps = bps;
    plan.down_bps += bps;
    plan.shares.push_back(share);
  }
  return plan;
}

std::string qdiscs() {
  return test::output_of("tc qdisc show dev near0");
}

std::unique_ptr<Tc> opened(const std::filesystem::path& state) {
  return require(Tc::open({Pair::kNear, state}));
}

bool in_virtual_machine() {
  return std::getenv("WDMOE_VM") != nullptr;
}

/// False where this kernel lacks the discipline; the machine of tests/vm has all.
bool set_root(const std::string& interface, const std::string& what) {
  const std::string command = "tc qdisc add dev " + interface + " root " + what;
  const bool fine = std::system((command + " 2>/dev/null").c_str()) == 0;
  REQUIRE((fine || !in_virtual_machine()));
  return fine;
}

/// A wdmoe that shapes the interface, in a process of its own, until killed.
pid_t shape_in_child(const std::filesystem::path& state) {
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    auto tc = Tc::open({Pair::kNear, state});
    const bool fine = tc && (*tc)->apply(plan_of({2e6, 4e6}));
    (void)!write(ready[1], fine ? "y" : "n", 1);
    pause();
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  close(ready[0]);
  close(ready[1]);
  return child;
}

void kill_hard(pid_t child) {
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace

TEST_CASE("tc: agents receive what they were granted, and counters say the same") {
  const Pair pair;
  // Packets of 64 KiB, which such an interface takes whole, are too coarse to compare counters.
  test::run("ip link set near0 gso_max_segs 2");
  const test::TempFolder state;
  const auto tc = opened(state.path());
  // An emulated processor carries some 60 Mbit/s of such small packets.
  const std::vector<double> shares = in_virtual_machine()
                                         ? std::vector<double>{1e6, 2e6, 5e6}
                                         : std::vector<double>{2e6, 5e6, 10e6, 20e6, 40e6};
  REQUIRE(tc->apply(plan_of(shares)));
  std::vector<Observed> before, after;
  REQUIRE(tc->observe(before));
  REQUIRE(before.size() == shares.size());
  std::vector<test::Flow> flows;
  for (std::size_t slot = 0; slot < shares.size(); ++slot)
    flows.push_back({static_cast<int>(slot), class_of(slot), 2.5, 0});
  const auto start = std::chrono::steady_clock::now();
  test::send_together(pair, flows);
  const double took =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  REQUIRE(tc->observe(after));
  CHECK_FALSE(tc->health().degraded);
  REQUIRE(after.size() == shares.size());
  for (std::size_t slot = 0; slot < shares.size(); ++slot) {
    CAPTURE(slot);
    const auto& seen = after[slot];
    CHECK(seen.slot == slot);
    CHECK(*seen.down_bps == doctest::Approx(shares[slot]).epsilon(1e-4));
    CHECK(flows[slot].received_bps == doctest::Approx(shares[slot]).epsilon(0.05));
    const auto bytes = static_cast<double>(*seen.down_bytes - *before[slot].down_bytes);
    CHECK(bytes * 8 / 2.5 >= 0.95 * shares[slot]);
    CHECK(bytes * 8 / took <= 1.05 * shares[slot]);
  }
}

TEST_CASE("tc: changed in place, a class keeps its counter and has its new rate") {
  const Pair pair;
  const test::TempFolder state;
  const auto tc = opened(state.path());
  REQUIRE(tc->apply(plan_of({4e6, 4e6})));
  std::vector<test::Flow> flows{{0, class_of(0), 0.5, 0}};
  test::send_together(pair, flows);
  std::vector<Observed> first, second;
  REQUIRE(tc->observe(first));
  CHECK(*first[0].down_bytes > 100'000);
  REQUIRE(tc->apply(plan_of({16e6, 4e6, 8e6})));
  REQUIRE(tc->observe(second));
  REQUIRE(second.size() == 3);
  CHECK(*second[0].down_bytes >= *first[0].down_bytes);
  CHECK(*second[0].down_bps == doctest::Approx(16e6).epsilon(1e-4));
  flows[0].seconds = 1.5;
  test::send_together(pair, flows);
  CHECK(flows[0].received_bps == doctest::Approx(16e6).epsilon(0.05));
  REQUIRE(tc->apply(plan_of({16e6})));
  REQUIRE(tc->observe(second));
  CHECK(second.size() == 1);
}

TEST_CASE("tc: shares hold across a link with delay") {
  const Pair pair;
  const test::TempFolder state;
  pair.go_far();
  const bool delayed = set_root("far0", "netem delay 20ms");
  pair.go_near();
  if (!delayed) return;  // no netem here
  const auto tc = opened(state.path());
  REQUIRE(tc->apply(plan_of({4e6, 12e6})));
  std::vector<test::Flow> flows{{0, class_of(0), 3, 0}, {1, class_of(1), 3, 0}};
  test::send_together(pair, flows);
  CHECK(flows[0].received_bps == doctest::Approx(4e6).epsilon(0.05));
  CHECK(flows[1].received_bps == doctest::Approx(12e6).epsilon(0.05));
}

TEST_CASE("tc: other traffic flows while agents saturate the cell") {
  const Pair pair;
  const test::TempFolder state;
  const auto tc = opened(state.path());
  Plan plan = plan_of({10e6, 10e6});
  for (Share& share : plan.shares) share.down_ceiling_bps = plan.down_bps;
  REQUIRE(tc->apply(plan));
  std::vector<test::Flow> flows{{0, class_of(0), 2, 0}, {1, class_of(1), 2, 0}, {2, {}, 2, 0}};
  test::send_together(pair, flows);
  CHECK(flows[2].received_bps >= 0.9 * 0.05 * plan.down_bps);
  SUBCASE("what nobody uses is lent") {
    std::vector<test::Flow> alone{{1, class_of(1), 1.5, 0}};
    test::send_together(pair, alone);
    CHECK(alone[0].received_bps == doctest::Approx(20e6).epsilon(0.05));
    std::vector<test::Flow> others{{2, {}, 1.5, 0}};
    test::send_together(pair, others);
    CHECK(others[0].received_bps == doctest::Approx(20e6).epsilon(0.05));
  }
  SUBCASE("a class that is not there is no dead end") {
    std::vector<test::Flow> lost{{3, class_of(77), 0.5, 0}};
    test::send_together(pair, lost);
    CHECK(lost[0].received_bps > 10e6);
  }
}

TEST_CASE("tc: what was there is there again") {
  const Pair pair;
  const test::TempFolder state;
  const std::string original = qdiscs();
  {
    const auto tc = opened(state.path());
    CHECK(qdiscs() == original);  // opened, it has done nothing
    CHECK(tc->restore());
    REQUIRE(tc->apply(plan_of({2e6, 5e6})));
    CHECK(qdiscs().find("htb 5744:") != std::string::npos);
    CHECK(std::filesystem::exists(state / "tc-near0.json"));
    REQUIRE(tc->restore());
    CHECK(tc->restore());
    CHECK(qdiscs() == original);
    CHECK_FALSE(std::filesystem::exists(state / "tc-near0.json"));
    REQUIRE(tc->apply(plan_of({2e6, 5e6})));  // anew
    CHECK(qdiscs() != original);
  }
  CHECK(qdiscs() == original);
}

TEST_CASE("tc: somebody else's queueing discipline is kept, and named in the refusal") {
  const Pair pair;
  const test::TempFolder state;
  for (const char* theirs :
       {"handle 1: tbf rate 1mbit burst 10k limit 100k", "handle 5744: htb", "pfifo limit 77",
        "handle 9: htb default 1", "cake bandwidth 9mbit", "fq_codel", "netem delay 5ms"}) {
    CAPTURE(theirs);
    if (!set_root("near0", theirs)) continue;
    const std::string original = qdiscs();
    const auto tc = Tc::open({Pair::kNear, state.path()});
    REQUIRE_FALSE(tc);
    CHECK(tc.error().code == Code::busy);
    CHECK(tc.error().text.find("near0") != std::string::npos);
    CHECK(tc.error().text.find("tc qdisc del") != std::string::npos);
    const auto reset = reset_tc(Pair::kNear, Records(state.path()));
    REQUIRE(reset);
    CHECK_FALSE(*reset);
    CHECK(qdiscs() == original);
    test::run("tc qdisc del dev near0 root");
  }
  SUBCASE("also when it comes between opening and shaping, or replaces ours") {
    const auto tc = opened(state.path());
    test::run("tc qdisc add dev near0 root pfifo limit 77");
    const auto refused = tc->apply(plan_of({2e6}));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().text.find("pfifo") != std::string::npos);
    test::run("tc qdisc del dev near0 root");
    REQUIRE(tc->apply(plan_of({2e6})));
    test::run("tc qdisc replace dev near0 root handle 8: pfifo limit 77");
    std::vector<Observed> seen;
    REQUIRE(tc->observe(seen));
    CHECK(seen.empty());
    CHECK(tc->health().degraded);
    CHECK_FALSE(tc->apply(plan_of({2e6})));
    CHECK(tc->restore());
    CHECK(qdiscs().find("pfifo 8:") != std::string::npos);
    CHECK(Records(state.path()).all("tc")->empty());
  }
}

TEST_CASE("tc: what others do to our classes is seen, and mended by the next decision") {
  const Pair pair;
  const test::TempFolder state;
  const auto tc = opened(state.path());
  const Plan plan = plan_of({2e6, 4e6});
  REQUIRE(tc->apply(plan));
  std::vector<Observed> seen;
  SUBCASE("a class's rate") {
    test::run("tc class change dev near0 parent 5744:1 classid 5744:10 htb rate 9mbit");
  }
  SUBCASE("a class removed") {
    test::run("tc class del dev near0 classid 5744:11");
  }
  SUBCASE("all of it removed") {
    test::run("tc qdisc del dev near0 root");
  }
  REQUIRE(tc->observe(seen));
  CHECK(tc->health().degraded);
  CHECK(tc->health().reason.find("somebody else") != std::string::npos);
  REQUIRE(tc->apply(plan));
  CHECK_FALSE(tc->health().degraded);
  REQUIRE(tc->observe(seen));
  REQUIRE(seen.size() == 2);
  CHECK(*seen[0].down_bps == doctest::Approx(2e6).epsilon(1e-4));
}

TEST_CASE("tc: a killed wdmoe leaves nothing behind for long") {
  const Pair pair;
  const test::TempFolder state;
  const std::string original = qdiscs();
  const pid_t child = shape_in_child(state.path());
  // While it lives nobody else touches its queues.
  const auto second = Tc::open({Pair::kNear, state.path()});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::busy);
  CHECK_FALSE(reset_tc(Pair::kNear, Records(state.path())));
  kill_hard(child);
  CHECK(qdiscs().find("htb 5744:") != std::string::npos);
  SUBCASE("wdmoe radio reset") {
    const auto reset = reset_tc(Pair::kNear, Records(state.path()));
    REQUIRE(reset);
    REQUIRE(*reset);
    CHECK((*reset)->find("near0") != std::string::npos);
    CHECK_FALSE(*reset_tc(Pair::kNear, Records(state.path())));
  }
  SUBCASE("a restarted daemon") {
    CHECK(Tc::open({Pair::kNear, state.path()}));
  }
  SUBCASE("one with another state directory") {
    const test::TempFolder other;
    CHECK(Tc::open({Pair::kNear, other.path()}));
    CHECK(reset_tc(Pair::kNear, Records(state.path())));
  }
  CHECK(qdiscs() == original);
  CHECK(Records(state.path()).all("tc")->empty());
}

TEST_CASE("tc: an interface that goes is no disaster") {
  const test::TempFolder state;
  auto pair = std::make_unique<Pair>();
  const auto tc = opened(state.path());
  REQUIRE(tc->apply(plan_of({2e6})));
  pair.reset();
  CHECK_FALSE(tc->apply(plan_of({3e6})));
  std::vector<Observed> seen;
  CHECK(tc->observe(seen));
  SUBCASE("it comes back, as another one") {
    pair = std::make_unique<Pair>();
    CHECK(tc->apply(plan_of({3e6})));
    CHECK(qdiscs().find("htb 5744:") != std::string::npos);
    return;
  }
  CHECK(tc->restore());
  const auto gone = Tc::open({Pair::kNear, state.path()});
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code == Code::not_found);
  CHECK_FALSE(*reset_tc(Pair::kNear, Records(state.path())));
  CHECK(Tc::open({"no/name", state.path()}).error().code == Code::bad_input);
}

TEST_CASE("probe: says what the kernel has, and leaves interfaces alone") {
  const Pair pair;
  const test::TempFolder state;
  const std::string original = qdiscs();
  const auto findings = probe(Pair::kNear);
  REQUIRE(findings);
  CHECK(findings->net_admin);
  CHECK(findings->htb == true);  // as the tests before have shown
  CHECK(findings->fq.has_value());
  CHECK(findings->ifb.has_value());
  CHECK(findings->port->up);
  CHECK(findings->port->owner == Owner::nobody);
  CHECK(qdiscs() == original);
  // What it says of fq_codel is what tc does.
  const auto tc = opened(state.path());
  REQUIRE(tc->apply(plan_of({2e6})));
  CHECK((qdiscs().find("fq_codel") != std::string::npos) == *findings->fq_codel);
  CHECK(probe(Pair::kNear)->port->owner == Owner::us);
  const auto nowhere = probe("nowhere0");
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().code == Code::not_found);
}

TEST_CASE("tc: as many classes as there are slots") {
  const Pair pair;
  const test::TempFolder state;
  const auto tc = opened(state.path());
  require(tc->apply(plan_of(std::vector<double>(kMostSlots, 1e6))));
  std::vector<Observed> seen;
  REQUIRE(tc->observe(seen));
  CHECK(seen.size() == kMostSlots);
  REQUIRE(tc->apply(plan_of(std::vector<double>(kMostSlots, 2e6))));
  REQUIRE(tc->observe(seen));
  CHECK(*seen.back().down_bps == doctest::Approx(2e6).epsilon(1e-4));
}

int main(int argc, char** argv) {
  if (!test::enter_network_namespace()) {
    std::printf("skipped: no network namespace of its own: %s\n", std::strerror(errno));
    return kSkipped;
  }
  doctest::Context context(argc, argv);
  return context.run();
}
