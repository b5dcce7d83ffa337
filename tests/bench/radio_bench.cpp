// Time of one bandwidth allocation by medium and number of devices, gains over six decades.
// Each case is certified before it is timed.  Bounds: 8 devices 5 us, 1,000 devices 1 ms.
//   build/release/tests/bench/radio_bench

#include <benchmark/benchmark.h>

#include "bsd/radio/allocate.h"
#include "bsd/radio/certificate.h"
#include "tests/bsd/radio/random_problem.h"

namespace wdmoe::radio {
namespace {

void allocate(benchmark::State& state, Medium medium) {
  Dice dice(11);
  constexpr std::size_t kProblems = 16;  // several, so that no one instance decides
  OwnedProblem problems[kProblems];
  Allocator allocator;
  for (OwnedProblem& owned : problems) {
    fill_randomly(owned, medium, static_cast<std::size_t>(state.range(0)), 6, dice);
    for (DeviceDemand& device : owned.devices) device.tokens += 1;  // nobody idle: the full work
    const auto solved = allocator.solve(owned.problem);
    if (!solved || certify(owned.problem, solved->devices).residual() > 1e-9)
      return state.SkipWithError("not solved to a KKT residual of 1e-9");
  }
  std::size_t next = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(allocator.solve(problems[next++ % kProblems].problem));
  state.counters["per_device"] = benchmark::Counter(
      static_cast<double>(state.range(0)),
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

BENCHMARK_CAPTURE(allocate, fdma_separate, Medium::fdma_separate)
    ->Arg(4)
    ->Arg(8)
    ->Arg(64)
    ->Arg(1000);
BENCHMARK_CAPTURE(allocate, fdma_common, Medium::fdma_common)->Arg(4)->Arg(8)->Arg(64)->Arg(1000);
BENCHMARK_CAPTURE(allocate, airtime, Medium::airtime)->Arg(4)->Arg(8)->Arg(64)->Arg(1000);

}  // namespace
}  // namespace wdmoe::radio

BENCHMARK_MAIN();
