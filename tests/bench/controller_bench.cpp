// One tick of the controller without its actuators (tc_bench has those): every estimate is fed a
// sample and read, and every rate moves so far that every allowed tick decides anew.
//   controller_bench [TICKS]   8 and 64 agents, each medium; TICKS of each, 5000 if not given
// Target, together with tc_bench's apply: 8 agents in 1 ms, 64 in 5 ms, at the 99th percentile.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "bsd/radio/estimate.h"
#include "bsd/shaping/controller.h"

namespace {

using namespace wdmoe;
constexpr double kTick = 0.02, kBitsPerRow = 4096 * 16;

/// This thread's processor time, in us: a tick is so short that whoever else wants the core would
/// be most of what a wall clock shows.
double cpu_us() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e6 * static_cast<double>(now.tv_sec) + 1e-3 * static_cast<double>(now.tv_nsec);
}

radio::TcpSample sample_of(std::size_t slot, unsigned tick, double now_s) {
  radio::TcpSample sample;
  sample.at_s = now_s;
  sample.app_limited = false;
  sample.delivery_bps = 1e6 * (2 + static_cast<double>(slot % 39)) *
                        (1.5 + std::sin(0.3 * tick + static_cast<double>(slot)));
  sample.rtt_s = 0.02;
  sample.min_rtt_s = 0.01;
  sample.bytes_acked = sample.segments = tick;
  return sample;
}

/// False if it did not decide as it should.
bool measure(const char* name, std::size_t count, unsigned ticks) {
  shaping::ControllerOptions options;
  options.medium = require(shaping::medium_from(name));
  shaping::Controller controller(options);
  radio::Estimates estimates;
  std::vector<shaping::AgentInput> agents(count);
  for (std::size_t slot = 0; slot < count; ++slot) {
    agents[slot].slot = slot;
    agents[slot].name = "agent-" + std::to_string(slot);
    estimates.of(slot).count_load(4);
  }
  std::vector<double> us;
  unsigned changes = 0;
  for (unsigned tick = 1; tick <= ticks; ++tick) {
    const double now_s = kTick * tick;
    const double start = cpu_us();
    for (std::size_t slot = 0; slot < count; ++slot) {
      for (const auto direction : {radio::Direction::down, radio::Direction::up})
        estimates.of(slot).add(direction, sample_of(slot, tick, now_s));
      agents[slot].link = estimates.of(slot).state();
    }
    changes += applies(controller.tick(now_s, agents, kBitsPerRow).reason);
    us.push_back(cpu_us() - start);
  }
  std::sort(us.begin(), us.end());
  std::printf(
      "%-13s %2zu agents: median %6.1f us, p99 %6.1f us, worst %7.1f us; %u changes in %u\n", name,
      count, us[us.size() / 2], us[us.size() * 99 / 100], us.back(), changes, ticks);
  return controller.last().error.empty() && changes > 0 && changes <= 1 + ticks / 5;
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned ticks =
      argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : 5000;
  if (ticks == 0 || ticks > 1'000'000) {
    std::fputs("controller_bench: expected 1 to 1000000 ticks\n", stderr);
    return 2;
  }
  bool good = true;
  for (const std::size_t count : {8, 64})
    for (const char* medium : {"airtime", "fdma_separate", "fdma_common", "dedicated"})
      good = measure(medium, count, ticks) && good;
  return good ? 0 : 1;
}
