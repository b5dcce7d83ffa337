#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include "kernels/expert_backend.h"
#include "kernels/matmul.h"
#include "kernels/reference.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/expert_cases.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

namespace {

/// Where bf16 weights round rows, each of the two products adds a relative error of 2^-8.
double worst_of_cpu(ThreadPool& pool, const ExpertCase& c) {
  const double rounded = c.dtype == DType::bf16 && rounds_bf16_rows() ? 2 * kBf16Epsilon : 0;
  return worst_of(*make_cpu_backend(pool), c, rounded);
}

}  // namespace

TEST_CASE("cpu backend: equals the reference for decode, batches and prefill") {
  ThreadPool pool(2);
  const ExpertCase cases[] = {
      {8, 64, 96, 1, 2, DType::f16},    {8, 64, 96, 4, 2, DType::bf16},
      {3, 36, 50, 5, 1, DType::f32},    {3, 36, 50, 40, 2, DType::f16},
      {1, 1, 1, 3, 1, DType::f32},      {2, 17, 33, 9, 2, DType::bf16},
      {4, 128, 300, 70, 2, DType::f16}, {2, 16, 24, 700, 1, DType::bf16},
      {8, 64, 96, 12, 2, DType::f32},
  };
  for_each_target([&](const char* target) {
    double worst = 0;
    for (const ExpertCase& c : cases) {
      CAPTURE(target);
      CAPTURE(c.hidden);
      CAPTURE(c.rows);
      const double ratio = worst_of_cpu(pool, c);
      CHECK(ratio <= 1);
      worst = std::fmax(worst, ratio);
    }
    MESSAGE(std::string(target) << ": worst error " << worst << " of the bound");
  });
}

TEST_CASE("cpu backend: rows that nobody names become zero, also without any work") {
  ThreadPool pool(1);
  Experts experts(2, 20, 12, DType::f16);
  const auto cpu = make_cpu_backend(pool);
  experts.load_into(*cpu);
  const OwnedTensor in(4, 20, DType::f16, 1, experts.random());
  OwnedTensor out(4, 20, DType::f16, 1, experts.random());
  const RowWeight row{2, 0.5f};
  const ExpertWork work{1, {&row, 1}};
  bool overflowed = true;
  CHECK(cpu->run({&work, 1}, in.view(), out.writable(), overflowed));
  for (std::size_t r = 0; r < 4; ++r)
    for (std::size_t col = 0; col < 20; ++col)
      CHECK((reference::element(out.view(), r, col) == 0) == (r != 2));
  CHECK(cpu->run({}, in.view(), out.writable(), overflowed));
  for (std::size_t col = 0; col < 20; ++col) CHECK(reference::element(out.view(), 2, col) == 0);
  CHECK_FALSE(overflowed);
}

TEST_CASE("cpu backend: tells when a finite sum does not fit f16, and forgets it again") {
  ThreadPool pool(1);
  Experts experts(1, 16, 16, DType::f32);
  const auto cpu = make_cpu_backend(pool);
  experts.load_into(*cpu);
  const OwnedTensor in(1, 16, DType::f32, 0, experts.random());
  OwnedTensor half(1, 16, DType::f16, 1, experts.random());
  OwnedTensor full(1, 16, DType::f32, 1, experts.random());
  const RowWeight huge{0, 1e9f}, usual{0, 1.0f};
  const ExpertWork too_large{0, {&huge, 1}}, fine{0, {&usual, 1}};
  bool overflowed = false;
  CHECK(cpu->run({&too_large, 1}, in.view(), half.writable(), overflowed));
  CHECK(overflowed);
  CHECK(cpu->run({&too_large, 1}, in.view(), full.writable(), overflowed));
  CHECK_FALSE(overflowed);
  overflowed = true;
  CHECK(cpu->run({&fine, 1}, in.view(), half.writable(), overflowed));
  CHECK_FALSE(overflowed);
}

TEST_CASE("cpu backend: the number of threads does not change a bit of the result") {
  Experts experts(4, 96, 70, DType::bf16);
  const OwnedTensor in(30, 96, DType::bf16, 1, experts.random());
  const Routing routing(4, 30, 2);
  std::vector<std::byte> first(30 * 96 * 4);
  for (const std::size_t threads : {1u, 2u, 4u}) {
    ThreadPool pool(threads);
    const auto cpu = make_cpu_backend(pool);
    experts.load_into(*cpu);
    std::vector<std::byte> out(first.size());
    bool overflowed = false;
    CHECK(cpu->run(routing.span(), in.view(), {out.data(), DType::f32, 30, 96}, overflowed));
    if (threads == 1) first = out;
    CHECK(out == first);
  }
}

TEST_CASE("backends: refuse what does not fit, naming it") {
  ThreadPool pool(1);
  Experts experts(1, 16, 24, DType::f16), wider(1, 32, 24, DType::f16);
  for (const bool plain : {false, true}) {
    const auto backend = plain ? make_reference_backend() : make_cpu_backend(pool);
    CHECK(backend->name() == (plain ? "reference" : "cpu"));
    experts.load_into(*backend);
    const auto text_of = [](const auto& result) {
      return result ? std::string("accepted") : result.error().text;
    };
    CHECK(text_of(backend->load(wider[0])) ==
          "expert has hidden size 32: expected 16 as the experts loaded before");
    ExpertWeights broken = experts[0];
    broken.up.rows = 23;
    CHECK(text_of(backend->load(broken)) ==
          "expert up is [23, 16]: expected the shape of gate, [24, 16]");
    broken = experts[0];
    broken.down.cols = 25;
    CHECK(text_of(backend->load(broken)) ==
          "expert down is [16, 25]: expected gate's shape transposed, [16, 24]");
    broken = experts[0];
    broken.gate.cols = std::size_t{1} << 40;
    CHECK_FALSE(backend->load(broken));

    const OwnedTensor in(2, 16, DType::f16, 0, experts.random());
    OwnedTensor out(2, 16, DType::f16, 0, experts.random());
    bool overflowed = false;
    const RowWeight row{2, 1.0f};
    const ExpertWork beyond{0, {&row, 1}}, stranger{7, {}};
    CHECK(text_of(backend->run({&beyond, 1}, in.view(), out.writable(), overflowed)) ==
          "expert input row 2: expected less than 2");
    CHECK(text_of(backend->run({&stranger, 1}, in.view(), out.writable(), overflowed)) ==
          "expert handle 7: expected less than the 1 loaded");
    CHECK(text_of(backend->run({}, wider[0].gate, out.writable(), overflowed)) ==
          "expert output is [2, 16]: expected the shape of the input, [24, 32]");
  }
}

TEST_CASE("cpu backend: refuses more rows than it will ever be sent") {
  ThreadPool pool(1);
  Experts experts(1, 16, 24, DType::f16);
  const auto cpu = make_cpu_backend(pool);
  experts.load_into(*cpu);
  const auto refused = cpu->reserve(std::size_t{1} << 40, std::size_t{1} << 40);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::limit);
  CHECK(cpu->reserve(8, 16));  // the refused reservation left no trace
}
