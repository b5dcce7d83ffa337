// One tick of the tc actuator against the kernel: every class gets a new rate and all is
// acknowledged (apply), then everything is read back (observe).
//   tc_bench [TICKS]      8, 64 and 256 agents; TICKS of each, 2000 if not given
// Target: 8 agents in 1 ms, 64 in 5 ms, at the 99th percentile.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bsd/shaping/tc.h"
#include "tests/support/network_namespace.h"
#include "tests/support/temp_folder.h"

namespace {

using namespace wdmoe;
using std::chrono::steady_clock;

constexpr int kSkipped = 77;

shaping::Plan plan_of(std::size_t agents, unsigned tick) {
  shaping::Plan plan;
  for (std::size_t slot = 0; slot < agents; ++slot) {
    shaping::Share share;
    share.slot = slot;
    share.down_bps = 1e6 * static_cast<double>(2 + (slot + tick) % 39);
    share.down_ceiling_bps = share.down_bps;
    plan.down_bps += share.down_bps;
    plan.shares.push_back(share);
  }
  return plan;
}

/// False if what is read back is not what was set.
bool check(shaping::Tc& tc, std::size_t agents) {
  const shaping::Plan plan = plan_of(agents, 7);
  require(tc.apply(plan));
  std::vector<shaping::Observed> seen;
  require(tc.observe(seen));
  return seen.size() == agents && std::equal(seen.begin(), seen.end(), plan.shares.begin(),
                                             [](const auto& a, const shaping::Share& b) {
                                               return std::abs(*a.down_bps - b.down_bps) < 10;
                                             });
}

void report(const char* what, std::size_t agents, std::vector<double>& us) {
  std::sort(us.begin(), us.end());
  std::printf("%-8s %3zu agents: median %7.1f us, p99 %7.1f us, worst %7.1f us of %zu\n", what,
              agents, us[us.size() / 2], us[us.size() * 99 / 100], us.back(), us.size());
}

void measure(shaping::Tc& tc, std::size_t agents, unsigned ticks) {
  const auto us_since = [](steady_clock::time_point start) {
    return std::chrono::duration<double, std::micro>(steady_clock::now() - start).count();
  };
  std::vector<double> applied, observed;
  std::vector<shaping::Observed> seen;
  for (unsigned tick = 0; tick < ticks; ++tick) {
    const shaping::Plan plan = plan_of(agents, tick);
    auto start = steady_clock::now();
    require(tc.apply(plan));
    applied.push_back(us_since(start));
    start = steady_clock::now();
    require(tc.observe(seen));
    observed.push_back(us_since(start));
  }
  report("apply", agents, applied);
  report("observe", agents, observed);
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned ticks =
      argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : 2000;
  if (ticks == 0 || ticks > 1'000'000) {
    std::fputs("tc_bench: expected 1 to 1000000 ticks\n", stderr);
    return 2;
  }
  if (!test::enter_network_namespace()) {
    std::puts("skipped: no network namespace of its own");
    return kSkipped;
  }
  const test::Pair pair;
  const test::TempFolder state;
  const auto tc = require(shaping::Tc::open({test::Pair::kNear, state.path()}));
  for (const std::size_t agents : {8u, 64u, 256u}) {
    if (!check(*tc, agents)) {
      std::puts("what was read back is not what was set");
      return 1;
    }
    measure(*tc, agents, ticks);
  }
  return 0;
}
