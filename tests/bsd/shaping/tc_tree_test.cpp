#include "bsd/shaping/tc_tree.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>
#include <linux/pkt_sched.h>

#include "bsd/shaping/classes.h"

using namespace wdmoe;
using namespace wdmoe::shaping;

namespace {

Plan plan_of(std::initializer_list<double> shares) {
  Plan plan;
  for (const double bps : shares) {
    Share share;
    share.slot = plan.shares.size();
    share.agent = "agent-" + std::to_string(share.slot);
    share.down_bps = bps;
    share.down_ceiling_bps = 2 * bps;
    plan.down_bps += bps;
    plan.shares.push_back(share);
  }
  return plan;
}

}  // namespace

TEST_CASE("tc tree: a share becomes a class at the wire's rate, below the cell's") {
  const auto tree = tree_for(plan_of({2e6, 40e6}));
  REQUIRE(tree);
  const ClassRates slow = tree->at(kFirstAgentMinor), fast = tree->at(kFirstAgentMinor + 1);
  const ClassRates cell = tree->at(kCellMinor), others = tree->at(kOthersMinor);
  CHECK(static_cast<double>(slow.rate_bps) == doctest::Approx(2e6 / 0.955).epsilon(1e-5));
  CHECK(static_cast<double>(slow.ceil_bps) == doctest::Approx(4e6 / 0.955).epsilon(1e-5));
  CHECK(slow.rate_bps % 8 == 0);
  CHECK(fast.ceil_bps == cell.ceil_bps);  // its link alone carries more than the cell may
  CHECK(slow.parent == kCellMinor);
  CHECK(others.parent == kCellMinor);
  CHECK(static_cast<double>(others.rate_bps) >= 0.049 * static_cast<double>(cell.rate_bps));
  CHECK(others.ceil_bps == cell.ceil_bps);
  CHECK(tree->at(kMarkerMinor).rate_bps == kMarkerBps);
}

TEST_CASE("tc tree: others keep a share however small the cell is") {
  const auto tree = tree_for(plan_of({100e3}));
  REQUIRE(tree);
  CHECK(tree->at(kOthersMinor).rate_bps == tree->at(kCellMinor).rate_bps);  // 256 kbit/s > cell
}

TEST_CASE("tc tree: what is no rate is refused with the agent's name") {
  for (const double bad :
       {0.0, -1.0, 999.0, 1.1e10, std::nan(""), std::numeric_limits<double>::infinity()}) {
    CAPTURE(bad);
    Plan plan = plan_of({5e6, 5e6});
    plan.shares[1].down_bps = bad;
    const auto tree = tree_for(plan);
    REQUIRE_FALSE(tree);
    CHECK(tree.error().code == Code::bad_input);
    CHECK(tree.error().text.find("agent-1") != std::string::npos);
    plan = plan_of({5e6});
    plan.down_bps = bad;
    CHECK_FALSE(tree_for(plan));
  }
  Plan far = plan_of({5e6});
  far.shares[0].slot = kMostSlots;
  CHECK_FALSE(tree_for(far));
  far.shares[0].slot = kMostSlots - 1;
  const auto tree = tree_for(far);
  REQUIRE(tree);
  CHECK(tree->count(class_of(kMostSlots - 1) & 0xffff) == 1);
}

TEST_CASE("tc tree: a slot's minor never meets the marker or another fixed class") {
  for (std::size_t slot = 0; slot < kMostSlots; ++slot) {
    const std::uint32_t minor = class_of(slot) & 0xffff;
    CHECK((class_of(slot) >> 16) == kMajor);
    CHECK((minor != kMarkerMinor && minor != kOthersMinor && minor != kCellMinor));
  }
}

TEST_CASE("tc tree: changes lead from any tree to any other") {
  const Tree a = *tree_for(plan_of({1e6, 2e6, 3e6})), b = *tree_for(plan_of({1e6, 9e6}));
  CHECK(changes(a, a).empty());
  const TreeChange change = changes(a, b);
  CHECK(change.add.empty());
  CHECK(change.remove == std::vector<std::uint32_t>{kFirstAgentMinor + 2});
  CHECK(change.change ==
        std::vector<std::uint32_t>{kCellMinor, kOthersMinor, kFirstAgentMinor + 1});
  CHECK(changes({}, a).add.size() == a.size());
  CHECK(changes({}, a).add.front() == kCellMinor);  // parents first
}

TEST_CASE("tc tree: whose an interface is") {
  const Qdisc plain{"fq_codel", 0, TC_H_ROOT}, ours{"htb", handle_of(0), TC_H_ROOT},
      other{"htb", 0x10000, TC_H_ROOT}, child{"pfifo", 0x80010000, handle_of(0x10)};
  HtbClass marker, unmarked;
  marker.handle = handle_of(kMarkerMinor);
  marker.rate_bps = kMarkerBps;
  unmarked = marker;
  unmarked.rate_bps += 8;
  struct Case {
    const char* name;
    std::vector<Qdisc> qdiscs;
    std::vector<HtbClass> classes;
    Owner owner;
  };
  const Case cases[] = {
      {"none", {}, {}, Owner::nobody},
      {"the kernel's default", {plain}, {}, Owner::nobody},
      {"ours", {child, ours}, {marker}, Owner::us},
      {"our number without the marker", {ours}, {unmarked}, Owner::other},
      {"somebody's htb", {other}, {marker}, Owner::other},
      {"somebody's fq_codel", {{"fq_codel", 0x80010000, TC_H_ROOT}}, {}, Owner::other},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CHECK(owner_of(c.qdiscs, c.classes) == c.owner);
  }
}

TEST_CASE("tc tree: a dump gives the tree back; payload is what frames carry") {
  HtbClass cell, agent, theirs;
  cell.handle = handle_of(kCellMinor);
  cell.parent = TC_H_ROOT;
  cell.rate_bps = cell.ceil_bps = 8000;
  agent.handle = class_of(3);
  agent.parent = handle_of(kCellMinor);
  agent.rate_bps = 800;
  agent.ceil_bps = 1600;
  theirs.handle = 0x10010;
  const std::vector<HtbClass> classes{cell, agent, theirs};
  const Tree tree = tree_of(classes);
  CHECK(tree ==
        Tree{{kCellMinor, {0, 8000, 8000}}, {kFirstAgentMinor + 3, {kCellMinor, 800, 1600}}});
  agent.sent_bytes = 10 * 1514;
  agent.sent_packets = 10;
  CHECK(payload_of(agent, false) == 10 * 1448);
  CHECK(payload_of(agent, true) == 10 * 1428);
  agent.sent_bytes = 100;
  CHECK(payload_of(agent, false) == 0);
}
