// How close the kernels come to what this machine can do.  Two probes measure the bounds: the rate
// at which one thread reads memory, and the rate at which it multiplies and adds.  Every kernel
// then reports its own rate and the ratio to its bound ("of_bound").  Answers are checked first.
//
// All of it: kernels_bench.  One kernel: kernels_bench --benchmark_filter='matvec/f16'
// Threads: kernels share one pool of WDMOE_BENCH_THREADS (default 1) threads.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/expert_backend.h"
#include "kernels/machine_probe.h"
#include "kernels/ops.h"
#include "kernels/reference.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

namespace {

std::size_t bench_threads() {
  const char* text = std::getenv("WDMOE_BENCH_THREADS");
  const int threads = text == nullptr ? 1 : std::atoi(text);
  return static_cast<std::size_t>(std::clamp(threads, 1, 64));
}

struct Machine {
  ThreadPool pool{bench_threads()};
  double read_rate = 0;  ///< bytes/s, one thread
  double flop_rate = 0;  ///< f32 flop/s, one thread
};

std::vector<float> random_floats(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

/// A random matrix of any dtype that owns its bytes.
struct Weights {
  std::vector<std::byte> bytes;
  Tensor view;

  Weights(std::size_t rows, std::size_t cols, DType dtype, unsigned seed)
      : bytes(rows * cols * bytes_of(dtype)) {
    const std::vector<float> values = random_floats(rows * cols, seed);
    to_wire({values.data(), rows, cols}, {bytes.data(), dtype, rows, cols});
    view = {bytes.data(), dtype, rows, cols};
  }
};

void report(benchmark::State& state, const char* unit, double per_iteration, double bound) {
  const double total = per_iteration * static_cast<double>(state.iterations());
  state.counters[unit] = benchmark::Counter(total / 1e9, benchmark::Counter::kIsRate);
  state.counters["of_bound"] = benchmark::Counter(total / bound, benchmark::Counter::kIsRate);
}

void linear_bench(benchmark::State& state, Machine& machine, DType dtype, std::size_t rows,
                  std::size_t out, std::size_t in) {
  const Weights weight(out, in, dtype, 1);
  const std::vector<float> x = random_floats(rows * in, 2);
  std::vector<float> y(rows * out), expected(out);
  linear(machine.pool, weight.view, {x.data(), rows, in}, {y.data(), rows, out});
  const std::size_t last = rows - 1;
  reference::linear(weight.view, {x.data() + last * in, 1, in}, {expected.data(), 1, out});
  for (std::size_t j = 0; j < out; ++j)
    if (!(std::fabs(y[last * out + j] - expected[j]) < 1e-3f * std::sqrt(static_cast<float>(in))))
      return state.SkipWithError("wrong answer");
  for (auto _ : state) {
    linear(machine.pool, weight.view, {x.data(), rows, in}, {y.data(), rows, out});
    benchmark::ClobberMemory();
  }
  machine.read_rate = measure_read_rate(128u << 20);
  machine.flop_rate = measure_flop_rate();
  if (rows <= 4) {
    report(state, "GB/s", static_cast<double>(weight.view.size_bytes()), machine.read_rate);
  } else {
    report(state, "GFLOP/s", 2.0 * static_cast<double>(rows * out * in), machine.flop_rate);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Machine machine;
  machine.read_rate = measure_read_rate(256u << 20);
  machine.flop_rate = measure_flop_rate();
  std::printf("probe: %s reads %.1f GB/s, computes %.1f GFLOP/s on one thread\n", instruction_set(),
              machine.read_rate / 1e9, machine.flop_rate / 1e9);
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32})
    for (const std::size_t rows : {1u, 2u, 4u, 6u, 8u, 12u, 16u, 512u}) {
      const std::string name = (rows <= 4 ? "matvec/" : "linear/") + std::string(name_of(dtype)) + "/" +
                               std::to_string(rows);
      benchmark::RegisterBenchmark(name.c_str(), [&machine, dtype, rows](benchmark::State& state) {
        linear_bench(state, machine, dtype, rows, rows <= 4 ? 32768 : 1792, rows <= 4 ? 1792 : 512);
      });
    }
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32})
    for (const std::size_t rows : {1u, 2u, 4u}) {
      const std::string name = "cached/" + std::string(name_of(dtype)) + "/" + std::to_string(rows);
      benchmark::RegisterBenchmark(name.c_str(), [&machine, dtype, rows](benchmark::State& state) {
        linear_bench(state, machine, dtype, rows, 512, 512);
      });
    }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
