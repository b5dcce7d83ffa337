#include "kernels/cuda/expert_kernels.h"

#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include <doctest/doctest.h>

#include "kernels/expert_checks.h"
#include "tests/cuda/host_launch.h"
#include "tests/kernels/expert_cases.h"

using namespace wdmoe;
using namespace wdmoe::kernels;
using wdmoe::cuda::test::launch;
namespace gpu = wdmoe::cuda;

namespace {

constexpr double kHalfEpsilon = 0x1p-11;

/// The kernels in the order of the CUDA backend, on the host, with a plain product in cuBLAS's
/// place.  `extra`: groups beyond what is needed, which must do nothing.
class TwinBackend final : public ExpertBackend {
 public:
  TwinBackend(bool vectors, std::uint32_t extra) : vectors_(vectors), extra_(extra) {}
  std::string_view name() const override { return "twin"; }
  Result<void> reserve(std::size_t, std::size_t) override { return {}; }

  Result<ExpertHandle> load(const ExpertWeights& weights) override {
    hidden_ = weights.gate.cols;
    Resident expert{std::vector<gpu::Half>(2 * weights.gate.rows * hidden_),
                    std::vector<gpu::Half>(weights.gate.rows * hidden_), weights.gate.rows};
    const auto half = [&](Tensor from, gpu::Half* to) {
      std::vector<float> copy(from.rows * from.cols);
      reference::from_wire(from, {copy.data(), from.rows, from.cols});
      const auto count = static_cast<std::uint32_t>(copy.size());
      launch<gpu::ConvertWeights>({copy.data(), to, &saturated, gpu::kF32, count},
                                  (count + 255) / 256 + extra_, 1);
    };
    half(weights.gate, expert.gate_up.data());
    half(weights.up, expert.gate_up.data() + weights.gate.rows * hidden_);
    half(weights.down, expert.down.data());
    experts_.push_back(std::move(expert));
    return static_cast<ExpertHandle>(experts_.size() - 1);
  }

  Result<void> run(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                   bool& overflowed) override {
    std::vector<gpu::Assigned> assigned;
    std::size_t widest = 0;
    for (const ExpertWork& item : work)
      for (const RowWeight& row : item.rows) {
        const Resident& expert = experts_[item.expert];
        widest = std::max(widest, expert.ffn);
        assigned.push_back({expert.gate_up.data(), expert.down.data(), row.row,
                            static_cast<std::uint32_t>(expert.ffn), row.weight, 0});
      }
    const auto count = static_cast<std::uint32_t>(assigned.size());
    const auto hidden = static_cast<std::uint32_t>(hidden_);
    std::vector<std::uint32_t> order(count), first(in.rows + 1);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return assigned[a].row < assigned[b].row; });
    for (const gpu::Assigned& a : assigned) ++first[a.row + 1];
    std::partial_sum(first.begin(), first.end(), first.begin());

    std::vector<float> aligned_in(in.size_bytes() / 4 + 1), aligned_out(out.size_bytes() / 4 + 1);
    std::memcpy(aligned_in.data(), in.data, in.size_bytes());
    std::vector<gpu::Half> x(count * hidden_);
    std::vector<float> x_scale(count), h_scale(count), y(count * hidden_);
    std::uint32_t overflow = 7;
    launch<gpu::Gather>({aligned_in.data(), assigned.data(), x.data(), x_scale.data(), &overflow,
                         static_cast<std::uint32_t>(in.dtype), hidden, count},
                        count + extra_, 1);
    if (vectors_) {
      const auto stride = static_cast<std::uint32_t>(widest);
      std::vector<float> h(count * widest);
      launch<gpu::GateUpVector>({assigned.data(), x.data(), x_scale.data(), h.data(),
                                 h_scale.data(), hidden, count, stride},
                                stride + extra_, count + extra_);
      launch<gpu::DownVector>({assigned.data(), h.data(), y.data(), hidden, count, stride},
                              hidden + extra_, count + extra_);
    } else {
      products(work, x.data(), x_scale.data(), h_scale.data(), y.data());
    }
    const auto rows = static_cast<std::uint32_t>(in.rows);
    launch<gpu::ScatterAdd>(
        {assigned.data(), first.data(), order.data(), y.data(), h_scale.data(), aligned_out.data(),
         &overflow, static_cast<std::uint32_t>(out.dtype), hidden, rows},
        (hidden + 255) / 256 + extra_, rows + extra_);
    std::memcpy(out.data, aligned_out.data(), out.size_bytes());
    CHECK(overflow <= 1);
    overflowed = overflow == 1;
    return {};
  }

  unsigned long long saturated = 0;

 private:
  struct Resident {
    std::vector<gpu::Half> gate_up, down;
    std::size_t ffn;
  };

  static void product(const gpu::Half* weight, std::size_t out, const gpu::Half* x, std::size_t in,
                      std::size_t rows, float* y) {
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t col = 0; col < out; ++col) {
        float sum = 0;
        for (std::size_t k = 0; k < in; ++k)
          sum += float_from_f16(weight[col * in + k]) * float_from_f16(x[row * in + k]);
        y[row * out + col] = sum;
      }
  }

  void products(Span<const ExpertWork> work, const gpu::Half* x, const float* x_scale,
                float* h_scale, float* y) const {
    for (const ExpertWork& item : work) {
      const Resident& expert = experts_[item.expert];
      const std::size_t count = item.rows.size();
      std::vector<float> gate_up(count * 2 * expert.ffn);
      std::vector<gpu::Half> h(count * expert.ffn);
      product(expert.gate_up.data(), 2 * expert.ffn, x, hidden_, count, gate_up.data());
      launch<gpu::SiluMultiply>(
          {gate_up.data(), x_scale, h.data(), h_scale, static_cast<std::uint32_t>(expert.ffn),
           static_cast<std::uint32_t>(count)},
          static_cast<std::uint32_t>(count) + extra_, 1);
      product(expert.down.data(), hidden_, h.data(), expert.ffn, count, y);
      x += count * hidden_;
      x_scale += count;
      h_scale += count;
      y += count * hidden_;
    }
  }

  bool vectors_;
  std::uint32_t extra_;
  std::vector<Resident> experts_;
  std::size_t hidden_ = 0;
};

}  // namespace

TEST_CASE("cuda kernels: equal the reference over shapes, with and without idle groups") {
  const ExpertCase cases[] = {
      {8, 64, 96, 1, 2, DType::f16},   {8, 64, 96, 4, 2, DType::f16},
      {3, 36, 50, 5, 1, DType::f16},   {1, 1, 1, 3, 1, DType::f16},
      {2, 17, 33, 9, 2, DType::f16},   {2, 264, 520, 3, 2, DType::f16},
      {2, 255, 257, 4, 1, DType::f16},
  };
  for (const bool vectors : {true, false}) {
    double worst = 0;
    for (const ExpertCase& c : cases)
      for (const std::uint32_t extra : {0u, 3u}) {
        CAPTURE(vectors);
        CAPTURE(c.hidden);
        CAPTURE(c.rows);
        CAPTURE(extra);
        TwinBackend backend(vectors, extra);
        // Rows are rounded to f16, and so is what SiLU leaves, but not on the vectors' way.  These
        // roundings are independent: over ffn terms they add up to 1/sqrt(ffn) of their sum; 4:
        // sigmas.
        const double rounded = 4 * 2 * kHalfEpsilon / std::sqrt(static_cast<double>(c.ffn));
        const double ratio = worst_of(backend, c, rounded);
        CHECK(ratio <= 1);
        worst = std::fmax(worst, ratio);
        CHECK(backend.saturated == 0);
      }
    MESSAGE(std::string(vectors ? "vectors" : "products")
            << ": worst error " << worst << " of the bound");
  }
}

TEST_CASE("cuda kernels: rows far outside f16 keep their relative precision") {
  Experts experts(2, 40, 24, DType::f16);
  const auto plain = make_reference_backend();
  experts.load_into(*plain);
  const Routing routing(2, 3, 2);
  for (const bool vectors : {true, false})
    for (const float size : {0x1p-90f, 1e-7f, 1.0f, 3e4f, 1e12f}) {
      CAPTURE(vectors);
      CAPTURE(size);
      TwinBackend twin(vectors, 0);
      experts.load_into(twin);
      std::vector<float> in = random_floats(3 * 40, experts.random());
      for (float& value : in) value *= size;
      std::vector<float> expected(in.size()), actual(in.size());
      const auto bytes = [](std::vector<float>& of) {
        return reinterpret_cast<std::byte*>(of.data());
      };
      bool overflowed = true;
      CHECK(plain->run(routing.span(), {bytes(in), DType::f32, 3, 40},
                       {bytes(expected), DType::f32, 3, 40}, overflowed));
      CHECK(twin.run(routing.span(), {bytes(in), DType::f32, 3, 40},
                     {bytes(actual), DType::f32, 3, 40}, overflowed));
      float largest = 0;
      for (const float value : expected) largest = std::fmax(largest, std::fabs(value));
      // An expert is about quadratic in its input: what it makes of 2^-90 is a subnormal or zero.
      const double least = std::numeric_limits<float>::min();
      for (std::size_t i = 0; i < in.size(); ++i)
        CHECK(std::fabs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])) <=
              8 * kHalfEpsilon * static_cast<double>(largest) + least);
    }
}

TEST_CASE("cuda kernels: scale_for brings every row's largest number just below 2^15") {
  for (const float largest : {1e-30f, 6e-8f, 0.999f, 1.0f, 65504.0f, 1e30f}) {
    const gpu::RowScale scale = gpu::scale_for(largest);
    CHECK(scale.up * scale.down == 1);
    CHECK(largest * scale.up < 0x1p15f);
    CHECK(largest * scale.up >= 0x1p14f);
  }
  for (const float odd :
       {0.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    CHECK(gpu::scale_for(odd).up == 1);
    CHECK(gpu::scale_for(odd).down == 1);
  }
  CHECK(std::isfinite(gpu::scale_for(std::numeric_limits<float>::denorm_min()).up));
  CHECK(std::isfinite(gpu::scale_for(std::numeric_limits<float>::max()).down));
}

TEST_CASE("cuda kernels: ScatterAdd writes each dtype, zero for unnamed rows, and tells of f16") {
  TwinBackend twin(true, 1);
  Experts experts(1, 16, 16, DType::f32);
  experts.load_into(twin);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    CAPTURE(name_of(dtype));
    const OwnedTensor in(4, 16, dtype, 0, experts.random());
    OwnedTensor out(4, 16, dtype, 1, experts.random());
    const RowWeight usual{2, 0.5f}, huge{2, 1e9f};
    const ExpertWork fine{0, {&usual, 1}}, large{0, {&huge, 1}};
    bool overflowed = true;
    CHECK(twin.run({&fine, 1}, in.view(), out.writable(), overflowed));
    CHECK_FALSE(overflowed);
    for (std::size_t row = 0; row < 4; ++row)
      for (std::size_t col = 0; col < 16; ++col)
        CHECK((reference::element(out.view(), row, col) == 0) == (row != 2));
    CHECK(twin.run({&large, 1}, in.view(), out.writable(), overflowed));
    CHECK(overflowed == (dtype == DType::f16));
  }
}

TEST_CASE("cuda kernels: ConvertWeights saturates and counts, and bf16 rounding is ours") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float in[] = {1.0f, 65504.0f, 65519.0f, 65520.0f, -1e9f, infinity, -infinity, 1e-9f};
  gpu::Half out[8];
  unsigned long long saturated = 40;
  launch<gpu::ConvertWeights>({in, out, &saturated, gpu::kF32, 8}, 1, 1);
  CHECK(saturated == 42);
  const float expected[] = {1, 65504, 65504, 65504, -65504, infinity, -infinity, 0};
  for (int i = 0; i < 8; ++i) CHECK(float_from_f16(out[i]) == expected[i]);

  std::mt19937 random(5);
  for (int i = 0; i < 10'000; ++i) {
    const float value = gpu::float_from(static_cast<std::uint32_t>(random()));
    CAPTURE(value);
    if (value == value) CHECK(gpu::bf16_from(value) == bf16_from_float(value));
  }
}
