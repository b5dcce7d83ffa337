// Bounds of this machine, one thread: reading memory and multiplying in registers.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/machine_probe.cpp"
#include "kernels/targets.h"
// targets.h must come before Highway, foreach_target before the rest
#include <hwy/foreach_target.h>
// foreach_target re-includes this file for each target
#include "kernels/machine_probe.h"
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {
namespace {

/// Sum of all floats, eight streams of one region in order: as fast as loads go.
float read_all(const float* from, std::size_t count) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  using V = hn::Vec<FloatTag>;
  constexpr std::size_t kSums = 8;
  V sums[kSums];
  for (V& sum : sums) sum = hn::Zero(d);
  for (std::size_t i = 0; i + kSums * lanes <= count; i += kSums * lanes) {
    hwy::Prefetch(from + i + 512);
    hwy::Prefetch(from + i + 528);
    hwy::Prefetch(from + i + 544);
    hwy::Prefetch(from + i + 560);
    for (std::size_t s = 0; s < kSums; ++s)
      sums[s] = hn::Add(sums[s], hn::LoadU(d, from + i + s * lanes));
  }
  for (std::size_t s = 1; s < kSums; ++s) sums[0] = hn::Add(sums[0], sums[s]);
  return hn::GetLane(hn::SumOfLanes(d, sums[0]));
}

/// `rounds` times twelve independent multiply-adds; returns how many operations that was.
double multiply_in_registers(std::size_t rounds, float* sink) {
  const FloatTag d;
  using V = hn::Vec<FloatTag>;
  constexpr std::size_t kSums = 12;
  V sums[kSums];
  for (std::size_t s = 0; s < kSums; ++s) sums[s] = hn::Set(d, static_cast<float>(s));
  const V factor = hn::Set(d, sink[0]), term = hn::Set(d, sink[1]);
  for (std::size_t round = 0; round < rounds; ++round)
    for (std::size_t s = 0; s < kSums; ++s) sums[s] = hn::MulAdd(sums[s], factor, term);
  for (std::size_t s = 1; s < kSums; ++s) sums[0] = hn::Add(sums[0], sums[s]);
  sink[2] = hn::GetLane(hn::SumOfLanes(d, sums[0]));
  return 2.0 * static_cast<double>(kSums * hn::Lanes(d) * rounds);
}

}  // namespace
}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <vector>

#include <time.h>

namespace wdmoe::kernels {
namespace {

HWY_EXPORT(read_all);
HWY_EXPORT(multiply_in_registers);

/// CPU time of this thread in seconds: on a shared machine, time others ran is not ours.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class Work>
double best_rate(int passes, const Work& work) {
  double best = 0;
  for (int pass = 0; pass < passes; ++pass) {
    const double start = thread_seconds();
    const double amount = work();
    best = std::max(best, amount / (thread_seconds() - start));
  }
  return best;
}

}  // namespace

double measure_read_rate(std::size_t bytes) {
  const std::vector<float> region(bytes / sizeof(float), 1.0f);
  volatile float sink = 0;
  return best_rate(5, [&] {
    sink = HWY_DYNAMIC_DISPATCH(read_all)(region.data(), region.size());
    return static_cast<double>(region.size() * sizeof(float));
  });
}

double measure_flop_rate() {
  volatile float one = 0.999f;
  float numbers[3] = {one, one, 0};
  constexpr std::size_t kRounds = 100'000;
  return best_rate(50,
                   [&] { return HWY_DYNAMIC_DISPATCH(multiply_in_registers)(kRounds, numbers); });
}

}  // namespace wdmoe::kernels
#endif
