// Label gpu: the CUDA backend on real hardware.  Without any it is skipped, and says why.

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>

#include "kernels/plugin.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/expert_cases.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

namespace {

constexpr double kHalfEpsilon = 0x1p-11;
constexpr int kSkipped = 77;

std::unique_ptr<ExpertBackend> make_cuda() {
  auto backend = make_plugin_backend(WDMOE_BINARY_DIR "/lib/wdmoe", "cuda");
  if (!backend) {
    std::cout << "skipped: " << backend.error().text << std::endl;
    std::_Exit(kSkipped);
  }
  return std::move(*backend);
}

}  // namespace

TEST_CASE("gpu: equals the reference for decode, batches and prefill") {
  const ExpertCase cases[] = {
      {8, 64, 96, 1, 2, DType::f16},       {8, 64, 96, 4, 2, DType::bf16},
      {3, 36, 50, 5, 1, DType::f32},       {3, 36, 50, 40, 2, DType::f16},
      {1, 1, 1, 3, 1, DType::f32},         {2, 17, 33, 9, 2, DType::bf16},
      {1, 16, 24, 1100, 1, DType::f16},    {4, 1024, 3584, 4, 2, DType::f16},
      {2, 1024, 3584, 33, 1, DType::bf16},
  };
  double worst = 0;
  for (const ExpertCase& c : cases) {
    CAPTURE(c.hidden);
    CAPTURE(c.rows);
    const auto backend = make_cuda();
    const int roundings = c.dtype == DType::f16 ? 2 : 4;  // as in cuda_backend_test.cpp
    const double rounded = 4 * roundings * kHalfEpsilon / std::sqrt(static_cast<double>(c.ffn));
    const double ratio = worst_of(*backend, c, rounded);
    CHECK(ratio <= 1);
    worst = std::fmax(worst, ratio);
  }
  MESSAGE("worst error " << worst << " of the bound");
}

TEST_CASE("gpu: milliseconds a message, printed and not judged") {
  constexpr std::size_t kHidden = 1024, kFfn = 3584, kExperts = 8;
  Experts experts(kExperts, kHidden, kFfn, DType::f16);
  const auto backend = make_cuda();
  experts.load_into(*backend);
  CHECK(backend->reserve(512, 1024));
  std::cout << backend->facts().device << ", hidden 1024, ffn 3584, 8 experts, top-2\n";
  for (const std::size_t rows : {1u, 4u, 16u, 64u, 512u}) {
    const OwnedTensor in(rows, kHidden, DType::f16, 0, experts.random());
    OwnedTensor out(rows, kHidden, DType::f16, 0, experts.random());
    const Routing routing(kExperts, rows, 2);
    bool overflowed = false;
    CHECK(backend->run(routing.span(), in.view(), out.writable(), overflowed));  // warm
    constexpr int kRuns = 50;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRuns; ++i)
      CHECK(backend->run(routing.span(), in.view(), out.writable(), overflowed));
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    std::cout << rows << " rows: " << took.count() / kRuns << " ms\n";
  }
}
