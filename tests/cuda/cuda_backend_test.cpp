#include <cmath>
#include <limits>
#include <string>

#include "tests/cuda/gpu_fixture.h"

using namespace wdmoe;
using namespace wdmoe::kernels;
using namespace wdmoe::cuda::test;

namespace {

constexpr double kHalfEpsilon = 0x1p-11;

/// Rows and inner values are rounded to f16; weights too, unless they are f16 already.  These
/// roundings are independent: over ffn terms they add up to 1/sqrt(ffn) of their sum; 4: sigmas.
double rounding_of(const ExpertCase& c) {
  const int roundings = c.dtype == DType::f16 ? 2 : 4;
  return 4 * roundings * kHalfEpsilon / std::sqrt(static_cast<double>(c.ffn));
}

}  // namespace

TEST_CASE("cuda backend: equals the reference, on shared memory and with copies") {
  const ExpertCase cases[] = {
      {8, 64, 96, 1, 2, DType::f16},    {8, 64, 96, 4, 2, DType::bf16},
      {3, 36, 50, 5, 1, DType::f32},    {3, 36, 50, 40, 2, DType::f16},
      {1, 1, 1, 3, 1, DType::f32},      {2, 17, 33, 9, 2, DType::bf16},
      {1, 16, 24, 1100, 1, DType::f16},  // two chunks of rows and a rest
  };
  for (const char* integrated : {"0", "1"}) {
    const Setting setting("WDMOE_STANDIN_INTEGRATED", integrated);
    double worst = 0;
    for (const ExpertCase& c : cases) {
      CAPTURE(integrated);
      CAPTURE(c.hidden);
      CAPTURE(c.rows);
      const auto backend = make_cuda();
      const double ratio = worst_of(*backend, c, rounding_of(c));
      CHECK(ratio <= 1);
      worst = std::fmax(worst, ratio);
    }
    MESSAGE(std::string("integrated ")
            << std::string(integrated) << ": worst error " << worst << " of the bound");
  }
}

TEST_CASE("cuda backend: one wait a message, graphs for recurring shapes, no memory once warm") {
  for (const char* integrated : {"0", "1"}) {
    const Setting setting("WDMOE_STANDIN_INTEGRATED", integrated);
    CAPTURE(integrated);
    Experts experts(4, 32, 48, DType::f16);
    const auto backend = make_cuda();
    experts.load_into(*backend);
    CHECK(backend->reserve(64, 128));
    const OwnedTensor in(64, 32, DType::f16, 1, experts.random());
    OwnedTensor out(64, 32, DType::f16, 1, experts.random());
    const auto run = [&](std::size_t rows) {
      const Routing routing(4, rows, 2);
      MutableTensor to = out.writable();
      to.rows = rows;
      bool overflowed = false;
      CHECK(backend->run(routing.span(), in.view().slice_rows(0, rows), to, overflowed));
    };
    run(1);
    run(3);
    const StandinCounters warm = counters();
    for (int i = 0; i < 3; ++i) {
      run(1);
      run(3);
    }
    const StandinCounters decoded = counters();
    CHECK(decoded.allocations == warm.allocations);
    CHECK(decoded.waits == warm.waits + 6);
    CHECK(decoded.graph_launches == warm.graph_launches + 6);
    CHECK(decoded.launches == warm.launches);
    run(64);  // 32 rows an expert: products
    const StandinCounters prefilled = counters();
    CHECK(prefilled.allocations == warm.allocations);
    CHECK(prefilled.waits == decoded.waits + 1);
    CHECK(prefilled.products == decoded.products + 2 * 4);
    CHECK(prefilled.graph_launches == decoded.graph_launches);
  }
}

TEST_CASE("cuda backend: more decode shapes than graphs are launched one by one") {
  Experts experts(2, 16, 16, DType::f16);
  const auto backend = make_cuda();
  experts.load_into(*backend);
  CHECK(backend->reserve(64, 64));
  const StandinCounters before = counters();
  constexpr std::size_t kShapes = 40;
  for (std::size_t rows = 1; rows <= kShapes; ++rows) {  // of which one row visits an expert
    const OwnedTensor in(rows, 16, DType::f16, 0, experts.random());
    OwnedTensor out(rows, 16, DType::f16, 0, experts.random());
    const RowWeight last{static_cast<std::uint32_t>(rows - 1), 1};
    const ExpertWork work{1, {&last, 1}};
    bool overflowed = false;
    CHECK(backend->run({&work, 1}, in.view(), out.writable(), overflowed));
  }
  CHECK(counters().graph_launches == before.graph_launches + 32);
  CHECK(counters().launches == before.launches + (kShapes - 32) * 4);
}

TEST_CASE("cuda backend: the same message gets the same bits, whatever came between") {
  Experts experts(4, 40, 56, DType::bf16);
  const auto backend = make_cuda();
  experts.load_into(*backend);
  for (const std::size_t rows : {2u, 30u}) {
    const OwnedTensor in(rows, 40, DType::bf16, 1, experts.random());
    const OwnedTensor other(7, 40, DType::f32, 0, experts.random());
    const Routing routing(4, rows, 2), between(4, 7, 2);
    std::vector<std::byte> first(rows * 40 * 4), second(first.size()), unused(7 * 40 * 4);
    bool overflowed = false;
    CHECK(
        backend->run(routing.span(), in.view(), {first.data(), DType::f32, rows, 40}, overflowed));
    CHECK(
        backend->run(between.span(), other.view(), {unused.data(), DType::f32, 7, 40}, overflowed));
    CHECK(
        backend->run(routing.span(), in.view(), {second.data(), DType::f32, rows, 40}, overflowed));
    CHECK(first == second);
  }
}

TEST_CASE("cuda backend: tells of f16 overflow, of zero rows, and of weights that saturated") {
  Experts experts(1, 16, 16, DType::f32);
  const auto backend = make_cuda();
  experts.load_into(*backend);
  CHECK(backend->facts().device == "stand-in (sm_87, CUDA 12.6, libcublas.so.12)");
  CHECK(backend->facts().copies_weights);
  CHECK(backend->facts().saturated_weights == 0);
  const OwnedTensor in(3, 16, DType::f32, 0, experts.random());
  OwnedTensor half(3, 16, DType::f16, 1, experts.random());
  OwnedTensor full(3, 16, DType::f32, 1, experts.random());
  const RowWeight huge{1, 1e9f}, usual{1, 1.0f};
  const ExpertWork too_large{0, {&huge, 1}}, fine{0, {&usual, 1}};
  bool overflowed = false;
  CHECK(backend->run({&too_large, 1}, in.view(), half.writable(), overflowed));
  CHECK(overflowed);
  CHECK(backend->run({&too_large, 1}, in.view(), full.writable(), overflowed));
  CHECK_FALSE(overflowed);
  overflowed = true;
  CHECK(backend->run({&fine, 1}, in.view(), half.writable(), overflowed));
  CHECK_FALSE(overflowed);
  for (std::size_t row = 0; row < 3; ++row)
    for (std::size_t col = 0; col < 16; ++col)
      CHECK((reference::element(half.view(), row, col) == 0) == (row != 1));
  CHECK(backend->run({}, in.view(), half.writable(), overflowed));
  for (std::size_t col = 0; col < 16; ++col) CHECK(reference::element(half.view(), 1, col) == 0);

  std::vector<float> large(16 * 16, 1e6f);
  const Tensor tensor{reinterpret_cast<const std::byte*>(large.data()), DType::f32, 16, 16};
  CHECK(backend->load({tensor, tensor, tensor}).value() == 1);
  CHECK(backend->facts().saturated_weights == 3 * 16 * 16);
  CHECK(backend->reserve(8, 8));
  CHECK(backend->facts().saturated_weights == 3 * 16 * 16);
}

TEST_CASE("cuda backend: refuses what does not fit, as the other backends do") {
  Experts experts(1, 16, 24, DType::f16), wider(1, 32, 24, DType::f16);
  const auto backend = make_cuda();
  CHECK(backend->name() == "cuda");
  experts.load_into(*backend);
  const auto refused = backend->load(wider[0]);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text ==
        "expert has hidden size 32: expected 16 as the experts loaded before");
  const OwnedTensor in(2, 16, DType::f16, 0, experts.random());
  OwnedTensor out(2, 16, DType::f16, 0, experts.random());
  bool overflowed = false;
  const ExpertWork stranger{7, {}};
  CHECK_FALSE(backend->run({&stranger, 1}, in.view(), out.writable(), overflowed));
  const auto too_many = backend->reserve(std::size_t{1} << 40, 1);
  REQUIRE_FALSE(too_many);
  CHECK(too_many.error().code == Code::limit);
  CHECK(backend->reserve(8, 16));
}

TEST_CASE("cuda backend: says in one line why there is none") {
  const auto text = [](const auto& result) {
    return result ? std::string("opened") : result.error().text;
  };
  CHECK(text(make_plugin_backend("/nowhere", "cuda")) ==
        "/nowhere/libwdmoe_cuda.so is not there: install the package wdmoe-agent-cuda, or take "
        "another backend");
  {
    const Setting old("WDMOE_STANDIN_SM", "72");
    CHECK(text(try_cuda()) ==
          "cuda: stand-in (sm_72, CUDA 12.6, libcublas.so.12): expected sm_80 "
          "(Ampere, Jetson Orin) or later");
  }
  {
    const Fault none("cuInit:1:100");
    CHECK(text(try_cuda()) == "cuda: cuInit: CUDA_ERROR_NO_DEVICE");
  }
  CHECK(text(try_cuda()) == "opened");
}
