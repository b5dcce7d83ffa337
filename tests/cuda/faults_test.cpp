// Everything that can fail, once: an error by name, nothing leaked, never a wrong number.

#include <optional>
#include <string>

#include "tests/cuda/gpu_fixture.h"

using namespace wdmoe;
using namespace wdmoe::kernels;
using namespace wdmoe::cuda::test;

namespace {

constexpr std::size_t kHidden = 24, kRows = 12;

/// A whole life of a backend: load, decode, prefill.  The first error, or nothing.
class Life {
 public:
  Life()
      : experts_(2, kHidden, 40, DType::bf16),
        in_(kRows, kHidden, DType::f32, 0, experts_.random()) {
    const auto plain = make_reference_backend();
    experts_.load_into(*plain);
    CHECK_FALSE(live(*plain));
    expected_ = sums_;
  }

  std::optional<Error> live() {
    auto backend = try_cuda();
    if (!backend) return backend.error();
    return live(**backend);
  }

  /// Whatever was answered must be right: f16 roundings of numbers near 1 against the reference.
  void check_sums() const {
    for (std::size_t i = 0; i < sums_.size(); ++i)
      CHECK(sums_[i] == doctest::Approx(expected_[i]).epsilon(0.02));
  }

 private:
  std::optional<Error> live(ExpertBackend& backend) {
    for (int expert = 0; expert < 2; ++expert)
      if (auto loaded = backend.load(experts_[static_cast<std::size_t>(expert)]); !loaded)
        return loaded.error();
    if (auto reserved = backend.reserve(kRows, 2 * kRows); !reserved) return reserved.error();
    for (const std::size_t rows : {std::size_t{2}, kRows}) {
      const Routing routing(2, rows, 2);
      sums_.assign(rows * kHidden, -1);
      bool overflowed = false;
      auto ran = backend.run(
          routing.span(), in_.view().slice_rows(0, rows),
          {reinterpret_cast<std::byte*>(sums_.data()), DType::f32, rows, kHidden}, overflowed);
      if (ran) continue;
      for (const float sum : sums_) CHECK(sum == -1);  // untouched
      return ran.error();
    }
    if (!expected_.empty()) check_sums();
    return std::nullopt;
  }

  Experts experts_;
  OwnedTensor in_;
  std::vector<float> sums_, expected_;
};

}  // namespace

TEST_CASE("cuda faults: out of memory at each allocation is an error by name") {
  Life life;
  for (const char* name : {"cuMemAlloc", "cuMemHostAlloc"}) {
    int at = 1;
    for (; at < 100; ++at) {
      CAPTURE(name);
      CAPTURE(at);
      const Fault fault(std::string(name) + ":" + std::to_string(at) + ":2");
      const auto error = life.live();
      if (!error) break;
      CHECK(error->code == Code::limit);
      CHECK(error->text.find("CUDA_ERROR_OUT_OF_MEMORY") != std::string::npos);
    }
    CHECK(at > 3);
    CHECK(at < 100);
  }
  CHECK_FALSE(life.live());
}

TEST_CASE("cuda faults: a device too small for the weights says what was wanted and what is free") {
  const Setting memory("WDMOE_STANDIN_MEMORY", "8391000");  // the workspace of 8 MiB fits, no more
  Life life;
  const auto error = life.live();
  REQUIRE(error);
  CHECK(error->code == Code::limit);
  CHECK(error->text ==
        "cuda: memory for a stage for weights: 4.0 MiB wanted, 0.0 MiB of 8.0 MiB free: "
        "CUDA_ERROR_OUT_OF_MEMORY");
}

TEST_CASE("cuda faults: every call that fails ends in an error, at once or when it is waited for") {
  Life life;
  const char* const calls[] = {"cuInit",
                               "cuDeviceGetCount",
                               "cuDevicePrimaryCtxRetain",
                               "cuStreamCreate",
                               "cuEventCreate",
                               "cuModuleLoadData",
                               "cuLaunchKernel",
                               "cuModuleGetFunction",
                               "cuMemcpyHtoDAsync",
                               "cuEventRecord",
                               "cuMemcpyDtoHAsync",
                               "cuEventSynchronize",
                               "cuGraphLaunch",
                               "cuStreamBeginCapture",
                               "cuStreamEndCapture",
                               "cublasCreate_v2",
                               "cuGraphInstantiateWithFlags",
                               "cublasSetStream_v2",
                               "cublasSetWorkspace_v2",
                               "cublasGemmEx",
                               "wdmoe_convert_weights",
                               "wdmoe_gather",
                               "wdmoe_silu_multiply",
                               "wdmoe_gate_up_vector",
                               "wdmoe_down_vector",
                               "wdmoe_scatter_add"};
  for (const char* call : calls)
    for (const int code : {700, 701}) {  // an illegal address sticks, lack of resources does not
      CAPTURE(call);
      CAPTURE(code);
      {
        const Fault fault(std::string(call) + ":1:" + std::to_string(code));
        const auto error = life.live();
        REQUIRE(error);
        CHECK(error->text.rfind("cuda: ", 0) == 0);
        CHECK(error->text.find('\n') == std::string::npos);
      }
      CHECK_FALSE(life.live());  // a new backend starts clean
    }
}

TEST_CASE("cuda faults: a backend that failed once computes nothing more") {
  Experts experts(1, 16, 16, DType::f16);
  const auto backend = make_cuda();
  experts.load_into(*backend);
  const OwnedTensor in(1, 16, DType::f16, 0, experts.random());
  OwnedTensor out(1, 16, DType::f16, 0, experts.random());
  const RowWeight row{0, 1};
  const ExpertWork work{0, {&row, 1}};
  bool overflowed = false;
  {
    const Fault fault("wdmoe_scatter_add:1:719");
    const auto ran = backend->run({&work, 1}, in.view(), out.writable(), overflowed);
    REQUIRE_FALSE(ran);
    CHECK(ran.error().text == "cuda: computing: CUDA_ERROR_LAUNCH_FAILED");
    CHECK(ran.error().code == Code::unavailable);
  }
  const auto again = backend->run({&work, 1}, in.view(), out.writable(), overflowed);
  REQUIRE_FALSE(again);
  CHECK(again.error().text == "cuda: computing: CUDA_ERROR_LAUNCH_FAILED");
}
