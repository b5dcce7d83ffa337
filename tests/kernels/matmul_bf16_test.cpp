// The products that round x to bf16 (kernels/matmul_bf16-inl.h).  The processor's bf16 dot product
// is not everywhere, so the same templates are compiled here for every target with a Dot made of
// ordinary operations; where the processor has one, the product's own entry is checked as well.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/matmul_bf16_test.cpp"
#include "kernels/targets.h"
// targets.h must come before Highway, foreach_target before the rest
#include <hwy/foreach_target.h>
// foreach_target re-includes this file for each target
#include "kernels/matmul_bf16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {
namespace {

struct EmulatedDot {
  static HWY_INLINE Floats low(Pairs pairs) {
    return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(pairs));
  }
  static HWY_INLINE Floats high(Pairs pairs) {
    return hn::BitCast(FloatTag(), hn::And(pairs, hn::Set(PairTag(), 0xffff0000u)));
  }
  static HWY_INLINE Floats add(Pairs a, Pairs b, Floats sum) {
    return hn::MulAdd(high(a), high(b), hn::MulAdd(low(a), low(b), sum));
  }
  static HWY_INLINE Pairs round(const float* x) {
    const FloatTag d;
    constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
    std::byte bytes[4 * kLanes];
    BF16::store(hn::LoadU(d, x), d, bytes);
    BF16::store(hn::LoadU(d, x + kLanes), d, bytes + 2 * kLanes);
    return load_bytes(PairTag(), bytes);
  }
};

void multiply_emulated(Tensor weight, std::size_t first, std::size_t columns, Matrix<const float> x,
                       float* panel, float* c) {
  multiply_rounded<EmulatedDot>({weight.row(first), weight.cols * 2, weight.cols}, columns, x,
                                panel, c);
}

}  // namespace
}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "kernels/reference.h"
#include "tests/kernels/kernel_cases.h"

namespace wdmoe::kernels {
namespace {

HWY_EXPORT(multiply_emulated);

void multiply_emulated(Tensor weight, std::size_t first, std::size_t columns, Matrix<const float> x,
                       float* panel, float* c) {
  HWY_DYNAMIC_DISPATCH(multiply_emulated)(weight, first, columns, x, panel, c);
}

void multiply_native(Tensor weight, std::size_t first, std::size_t columns, Matrix<const float> x,
                     float* panel, float* c) {
  multiply_block(weight.slice_rows(first, columns), x, panel, c);
}

using Multiply = decltype(&multiply_native);

struct Case {
  std::size_t rows, columns, in, first;
};

/// What multiply_block() left in c; its memory held NaN before, so that a stale read shows.
std::vector<float> product_of(Multiply multiply, Tensor weight, const Case& c, const float* x) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> panel(kPanelFloats, nan), block(c.rows * kBlockColumns, nan);
  multiply(weight, c.first, c.columns, {x, c.rows, c.in}, panel.data(), block.data());
  return block;
}

/// Worst errors of one product, in units of their bounds.
///
/// Against the reference on rounded x: each product of two bf16 is exact in f32, so n·eps·Σ|w·x| as
/// for linear() (tests/kernels/linear_test.cpp); + 2 for the reference's own rounding.
/// Against the reference on x itself: besides, each x is off by at most 2^-8 |x|.
struct Worst {
  WorstError rounded, exact;
};

void see_product(Multiply multiply, const Case& c, Worst& worst) {
  std::mt19937 random(1);
  const OwnedTensor weight(c.first + c.columns, c.in, DType::bf16, (c.in + c.rows) % 4, random);
  const std::vector<float> x = random_floats(c.rows * c.in, random);
  std::vector<float> x16 = x;
  for (float& value : x16) value = float_from_bf16(bf16_from_float(value));
  const Tensor used = weight.view().slice_rows(c.first, c.columns);
  std::vector<float> w(c.columns * c.in);
  reference::from_wire(used, {w.data(), c.columns, c.in});
  std::vector<float> rounded(c.rows * c.columns), exact(rounded.size());
  reference::linear(used, {x16.data(), c.rows, c.in}, {rounded.data(), c.rows, c.columns});
  reference::linear(used, {x.data(), c.rows, c.in}, {exact.data(), c.rows, c.columns});
  const std::vector<float> block = product_of(multiply, weight.view(), c, x.data());
  for (std::size_t row = 0; row < c.rows; ++row)
    for (std::size_t j = 0; j < c.columns; ++j) {
      double size16 = 0, size = 0;  // Σ|w·x|
      for (std::size_t k = 0; k < c.in; ++k) {
        const double weight_size = std::fabs(static_cast<double>(w[j * c.in + k]));
        size16 += weight_size * std::fabs(static_cast<double>(x16[row * c.in + k]));
        size += weight_size * std::fabs(static_cast<double>(x[row * c.in + k]));
      }
      const double sums = (static_cast<double>(c.in) + 2) * kEpsilon * size16;
      const std::size_t at = row * c.columns + j;
      const auto actual = static_cast<double>(block[row * kBlockColumns + j]);
      worst.rounded.see(actual, static_cast<double>(rounded[at]), sums);
      worst.exact.see(actual, static_cast<double>(exact[at]), sums + kBf16Epsilon * size);
    }
}

/// Calls check(multiply, name) for every target, and for the processor's own where it has one.
template <class Check>
void for_each_dot(const Check& check) {
  for_each_target([&](const char* target) {
    check(&multiply_emulated, std::string(target) + " emulated");
    if (rounds_bf16_rows()) check(&multiply_native, std::string(target) + " native");
  });
}

}  // namespace

TEST_CASE("bf16 products: equal the reference at every length, row count, width and address") {
  std::vector<Case> cases;
  for (const std::size_t in :
       {0u, 1u, 2u, 3u, 15u, 16u, 17u, 31u, 32u, 33u, 63u, 64u, 65u, 131u, 257u, 300u})
    for (const std::size_t rows : {1u, 2u, 3u, 7u, 8u, 13u})
      cases.push_back({rows, 1 + (in * 7 + rows) % kBlockColumns, in, in % 3});
  cases.push_back({1, 2, 2 * kPanelFloats + 33, 0});  // one row longer than the working memory
  cases.push_back({7, 3, 4705, 1});                   // seven rows: three slices, the last one odd
  cases.push_back({33, kBlockColumns, 271, 0});       // more rows than are rounded at a time
  cases.push_back({kBlockRows, 3, 48, 2});
  for_each_dot([&](Multiply multiply, const std::string& name) {
    Worst worst;
    for (const Case& c : cases) {
      Worst here;
      see_product(multiply, c, here);
      if (!(here.rounded.ratio() <= 1 && here.exact.ratio() <= 1))
        FAIL_CHECK(name << ": rows " << c.rows << " columns " << c.columns << " in " << c.in << ": "
                        << here.rounded.ratio() << " and " << here.exact.ratio());
      worst.rounded.see(here.rounded.ratio(), 0, 1);
      worst.exact.see(here.exact.ratio(), 0, 1);
    }
    MESSAGE(name << ": worst error " << worst.rounded.ratio() << " of the bound, "
                 << worst.exact.ratio() << " against unrounded rows");
  });
}

TEST_CASE("bf16 products: round x to nearest even and keep infinities and NaN") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float values[] = {0.0f,         -0.0f,     1.0f,      1 + 0x1p-8f, 1 + 0x3p-8f,
                          -1 - 0x1p-8f, -1.00391f, 65504.0f,  0x1p-100f,   3.4e38f,
                          -3.4e38f,     infinity,  -infinity, 0x1.fep-1f,  0x1.ffp-1f};
  const std::uint16_t one = bf16_from_float(1);
  const Tensor weight{reinterpret_cast<const std::byte*>(&one), DType::bf16, 1, 1};
  for_each_dot([&](Multiply multiply, const std::string& name) {
    CAPTURE(name);
    for (const float value : values) {
      CAPTURE(value);
      const float rounded = float_from_bf16(bf16_from_float(value));
      CHECK(product_of(multiply, weight, {1, 1, 1, 0}, &value)[0] == rounded);
      const std::vector<float> rows(9, value);
      CHECK(product_of(multiply, weight, {9, 1, 1, 0}, rows.data())[8 * kBlockColumns] == rounded);
    }
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(product_of(multiply, weight, {1, 1, 1, 0}, &nan)[0]));
  });
}

}  // namespace wdmoe::kernels
#endif
