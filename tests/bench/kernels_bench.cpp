// How close the kernels come to what this machine can do.  Two probes measure the bounds of one
// thread: the rate at which it reads memory, and the rate at which it multiplies and adds.  They
// run again beside each benchmark, because shared machines change by the minute; every kernel
// reports its own rate and the ratio to its bound ("of_bound").  Answers are checked first.
//
// All of it: kernels_bench.  One kernel: kernels_bench --benchmark_filter='matvec/f16'
// WDMOE_BENCH_THREADS=n shares the work over n threads; the bound stays that of one thread.
// With one thread rates are per CPU second, so that other users of the machine do not count.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/expert_backend.h"
#include "kernels/machine_probe.h"
#include "kernels/matmul.h"
#include "kernels/ops.h"
#include "kernels/reference.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

namespace {

constexpr std::size_t kProbeBytes = std::size_t{128} << 20;  ///< four times a 32 MiB L3

/// Relative to 1; the unit tests know the real bounds.
float tolerance(DType dtype) {
  return dtype == DType::bf16 && rounds_bf16_rows() ? 1e-2f : 1e-3f;
}

enum class Bound { memory, compute };

std::size_t bench_threads() {
  const char* text = std::getenv("WDMOE_BENCH_THREADS");
  const int threads = text == nullptr ? 1 : std::atoi(text);
  return static_cast<std::size_t>(std::clamp(threads, 1, 64));
}

/// `count` numbers in [-scale, scale): a seeded block, repeated.
std::vector<float> some_floats(std::size_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(count);
  const std::size_t block = std::min<std::size_t>(count, 65'521);  // prime: no two rows alike
  for (std::size_t i = 0; i < block; ++i) values[i] = uniform(random);
  for (std::size_t i = block; i < count; ++i) values[i] = values[i - block];
  return values;
}

/// A matrix [rows, cols] of any dtype that owns its bytes; products with it are about 1 in size.
class Weights {
 public:
  Weights(std::size_t rows, std::size_t cols, DType dtype, unsigned seed)
      : bytes_(rows * cols * bytes_of(dtype)), view_{bytes_.data(), dtype, rows, cols} {
    const float scale = std::sqrt(3.0f / static_cast<float>(cols));
    const std::vector<float> values = some_floats(rows * cols, seed, scale);
    to_wire({values.data(), rows, cols}, {bytes_.data(), dtype, rows, cols});
  }
  Weights(Weights&&) = default;
  Tensor view() const { return view_; }

 private:
  std::vector<std::byte> bytes_;
  Tensor view_;
};

/// Turns work per iteration into a rate and its ratio to what the machine can do just now.
void report(benchmark::State& state, Bound bound, double per_iteration) {
  const double most = bound == Bound::memory ? measure_read_rate(kProbeBytes) : measure_flop_rate();
  const double total = per_iteration * static_cast<double>(state.iterations());
  state.counters[bound == Bound::memory ? "GB" : "GFLOP"] =
      benchmark::Counter(total / 1e9, benchmark::Counter::kIsRate);
  state.counters["of_bound"] = benchmark::Counter(total / most, benchmark::Counter::kIsRate);
}

bool near(const float* actual, const float* expected, std::size_t count, DType dtype) {
  for (std::size_t i = 0; i < count; ++i)
    if (!(std::fabs(actual[i] - expected[i]) < tolerance(dtype))) return false;  // nor NaN
  return true;
}

struct LinearCase {
  DType dtype;
  std::size_t rows, out, in;
  Bound bound;
};

void linear_bench(benchmark::State& state, ThreadPool& pool, const LinearCase& c) {
  const Weights weight(c.out, c.in, c.dtype, 1);
  const std::vector<float> x = some_floats(c.rows * c.in, 2);
  std::vector<float> y(c.rows * c.out);
  const auto run = [&] {
    linear(pool, weight.view(), {x.data(), c.rows, c.in}, {y.data(), c.rows, c.out});
  };
  run();
  constexpr std::size_t kChecked = 64;  // the last outputs of the last row
  const std::size_t last = c.rows - 1, checked = std::min(kChecked, c.out);
  std::vector<float> expected(checked);
  reference::linear(weight.view().slice_rows(c.out - checked, checked),
                    {x.data() + last * c.in, 1, c.in}, {expected.data(), 1, checked});
  if (!near(y.data() + c.rows * c.out - checked, expected.data(), checked, c.dtype))
    return state.SkipWithError("wrong answer");
  for (auto _ : state) run();
  report(state, c.bound,
         c.bound == Bound::memory ? static_cast<double>(weight.view().size_bytes())
                                  : 2.0 * static_cast<double>(c.rows * c.out * c.in));
}

struct ExpertCase {
  std::size_t hidden, ffn, rows;
  DType dtype;
};

constexpr std::size_t kExperts = 8, kTop = 2;

/// Which experts `count` rows visit: two each.  A single row takes the next two experts each turn,
/// so that in decode all eight take their turn in coming from memory.
class Routing {
 public:
  Span<const ExpertWork> turn(std::size_t turn, std::size_t count) {
    for (auto& list : rows_) list.clear();
    work_.clear();
    const std::size_t apart = count > 1 ? 3 : 1;
    for (std::uint32_t row = 0; row < count; ++row)
      for (std::size_t choice = 0; choice < kTop; ++choice)
        rows_[(turn * kTop + row + choice * apart) % kExperts].push_back({row, 0.5f});
    for (std::uint32_t expert = 0; expert < kExperts; ++expert)
      if (!rows_[expert].empty())
        work_.push_back({expert, {rows_[expert].data(), rows_[expert].size()}});
    return {work_.data(), work_.size()};
  }

 private:
  std::vector<std::vector<RowWeight>> rows_{kExperts};
  std::vector<ExpertWork> work_;
};

void expert_bench(benchmark::State& state, ThreadPool& pool, const ExpertCase& c) {
  const auto cpu = make_cpu_backend(pool), plain = make_reference_backend();
  std::vector<Weights> weights;
  for (unsigned expert = 0; expert < kExperts; ++expert) {
    weights.emplace_back(c.ffn, c.hidden, c.dtype, 3 * expert + 1);
    weights.emplace_back(c.ffn, c.hidden, c.dtype, 3 * expert + 2);
    weights.emplace_back(c.hidden, c.ffn, c.dtype, 3 * expert + 3);
    const Weights* three = &weights[3 * expert];
    const ExpertWeights all{three[0].view(), three[1].view(), three[2].view()};
    if (!cpu->load(all) || !plain->load(all)) return state.SkipWithError("refused");
  }
  const Weights in(c.rows, c.hidden, c.dtype, 99);
  std::vector<float> out(c.rows * c.hidden), expected(out.size());
  Routing routing;
  const auto run = [&](ExpertBackend& backend, std::size_t turn, std::size_t count, float* to) {
    bool overflowed = false;
    const MutableTensor result{reinterpret_cast<std::byte*>(to), DType::f32, count, c.hidden};
    const auto work = routing.turn(turn, count);
    return backend.run(work, in.view().slice_rows(0, count), result, overflowed).has_value();
  };
  if (!run(*plain, 0, 1, expected.data()) || !run(*cpu, 0, 1, out.data()) ||
      !near(out.data(), expected.data(), c.hidden, c.dtype))
    return state.SkipWithError("wrong answer");
  std::size_t turn = 0;
  for (auto _ : state) benchmark::DoNotOptimize(run(*cpu, turn++, c.rows, out.data()));
  const auto numbers = static_cast<double>(3 * c.hidden * c.ffn);  // of one expert
  const std::size_t assignments = kTop * c.rows;
  if (c.rows <= kExperts) {  // so few rows an expert that its weights are the cost
    const auto visited = static_cast<double>(std::min(kExperts, assignments));
    report(state, Bound::memory, visited * numbers * static_cast<double>(bytes_of(c.dtype)));
  } else {
    report(state, Bound::compute, 2.0 * numbers * static_cast<double>(assignments));
  }
}

/// `rows` queries at the end of `tokens` positions; 8 heads over 4 key/value heads of 64.
void attend_bench(benchmark::State& state, ThreadPool& pool, std::size_t rows, std::size_t tokens) {
  const AttentionShape shape{8, 4, 64, 16, 0};
  const std::size_t page_floats = shape.kv_heads * shape.page_tokens * shape.head_dim;
  const std::size_t pages = (tokens + shape.page_tokens - 1) / shape.page_tokens;
  const std::vector<float> keys = some_floats(pages * page_floats, 1),
                           values = some_floats(pages * page_floats, 2);
  std::vector<const float*> key_pages, value_pages;
  for (std::size_t page = 0; page < pages; ++page) {
    key_pages.push_back(keys.data() + page * page_floats);
    value_pages.push_back(values.data() + page * page_floats);
  }
  const std::size_t cols = shape.heads * shape.head_dim;
  const std::vector<float> q = some_floats(rows * cols, 3);
  std::vector<float> out(rows * cols), expected(cols);
  const Span<const float* const> key_span(key_pages.data(), pages);
  const Span<const float* const> value_span(value_pages.data(), pages);
  const AttentionJob job{0, rows, tokens - rows, key_span, value_span};
  const AttentionJob last{0, 1, tokens - 1, key_span, value_span};
  attend(pool, shape, {&job, 1}, {q.data(), rows, cols}, {out.data(), rows, cols});
  reference::attend(shape, {&last, 1}, {q.data() + (rows - 1) * cols, 1, cols},
                    {expected.data(), 1, cols});
  if (!near(out.data() + (rows - 1) * cols, expected.data(), cols, DType::f32))
    return state.SkipWithError("wrong answer");
  for (auto _ : state)
    attend(pool, shape, {&job, 1}, {q.data(), rows, cols}, {out.data(), rows, cols});
  const double seen =
      static_cast<double>(rows) * (static_cast<double>(tokens) - static_cast<double>(rows - 1) / 2);
  report(state, Bound::compute, 4.0 * seen * static_cast<double>(cols));
}

/// 512 rows of 512 numbers to the wire dtype: bytes read and written.
void wire_bench(benchmark::State& state, DType dtype) {
  constexpr std::size_t kRows = 512, kCols = 512;
  const std::vector<float> x = some_floats(kRows * kCols, 1);
  std::vector<std::byte> bytes(kRows * kCols * bytes_of(dtype)), expected(bytes.size());
  const auto run = [&] {
    return to_wire({x.data(), kRows, kCols}, {bytes.data(), dtype, kRows, kCols});
  };
  reference::to_wire({x.data(), kRows, kCols}, {expected.data(), dtype, kRows, kCols});
  if (!run() || bytes != expected) return state.SkipWithError("wrong answer");
  for (auto _ : state) benchmark::DoNotOptimize(run());
  report(state, Bound::memory, static_cast<double>(x.size() * sizeof(float) + bytes.size()));
}

void probe_bench(benchmark::State& state, Bound bound) {
  double rate = 0;
  for (auto _ : state)
    rate = bound == Bound::memory ? measure_read_rate(kProbeBytes) : measure_flop_rate();
  state.counters[bound == Bound::memory ? "GB/s" : "GFLOP/s"] = rate / 1e9;
}

/// Registers `body(state)`; several threads are judged by wall time, one by its own CPU time.
template <class Body>
void add(const std::string& name, const ThreadPool& pool, const Body& body) {
  auto* registered = benchmark::RegisterBenchmark(name.c_str(), body);
  registered->Unit(benchmark::kMicrosecond);
  if (pool.threads() > 1) registered->UseRealTime();
}

void register_all(ThreadPool& pool) {
  add("probe/read", pool, [](auto& state) { probe_bench(state, Bound::memory); });
  add("probe/multiply_add", pool, [](auto& state) { probe_bench(state, Bound::compute); });
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32}) {
    const std::string type(name_of(dtype));
    for (const std::size_t rows : {1u, 2u, 4u}) {  // beyond any L3: 29 million weights
      const LinearCase c{dtype, rows, 16384, 1792, Bound::memory};
      add("matvec/" + type + "/rows:" + std::to_string(rows), pool,
          [&pool, c](auto& state) { linear_bench(state, pool, c); });
    }
    for (const std::size_t rows : {4u, 8u, 16u, 64u, 512u}) {
      const LinearCase c{dtype, rows, 1792, 512, Bound::compute};
      add("linear/" + type + "/rows:" + std::to_string(rows), pool,
          [&pool, c](auto& state) { linear_bench(state, pool, c); });
    }
  }
  for (const auto& [hidden, ffn] : {std::pair<std::size_t, std::size_t>{512, 1792}, {1024, 3584}})
    for (const std::size_t rows : {1u, 8u, 256u, 512u}) {
      const ExpertCase c{hidden, ffn, rows, DType::f16};
      add("expert/f16/" + std::to_string(hidden) + "x" + std::to_string(ffn) +
              "/rows:" + std::to_string(rows),
          pool, [&pool, c](auto& state) { expert_bench(state, pool, c); });
    }
  for (const auto& [rows, tokens] :
       {std::pair<std::size_t, std::size_t>{1, 2048}, {512, 512}, {512, 2048}})
    add("attend/rows:" + std::to_string(rows) + "/tokens:" + std::to_string(tokens), pool,
        [&pool, rows = rows, tokens = tokens](auto& state) {
          attend_bench(state, pool, rows, tokens);
        });
  for (const DType dtype : {DType::f16, DType::bf16})
    add("rows/to_wire/" + std::string(name_of(dtype)), pool,
        [dtype](auto& state) { wire_bench(state, dtype); });
}

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool(bench_threads());
  benchmark::AddCustomContext("instruction_set", instruction_set());
  benchmark::AddCustomContext("threads", std::to_string(pool.threads()));
  register_all(pool);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
