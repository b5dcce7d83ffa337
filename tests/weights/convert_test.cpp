#include "weights/convert.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::weights;

namespace {

std::vector<std::uint16_t> narrowed(const std::vector<float>& values, DType to,
                                    ConversionCounts& counts) {
  std::vector<std::uint16_t> out(values.size());
  convert(reinterpret_cast<const std::byte*>(values.data()), DType::f32,
          reinterpret_cast<std::byte*>(out.data()), to, values.size(), counts);
  return out;
}

}  // namespace

TEST_CASE("convert: f32 to f16 saturates, and counts what did not fit") {
  const float infinity = std::numeric_limits<float>::infinity();
  ConversionCounts counts;
  const auto out = narrowed({1.0f, 65504.0f, 65519.0f, 65520.0f, -1e6f, 1e-9f, 0.0f, -0.0f,
                             infinity, -infinity, std::nanf("")},
                            DType::f16, counts);
  CHECK(counts.saturated == 2);  // 65520 and -1e6; 65519 rounds to 65504
  CHECK(counts.flushed == 1);
  CHECK(counts.not_finite == 3);
  CHECK(float_from_f16(out[2]) == 65504.0f);
  CHECK(float_from_f16(out[3]) == 65504.0f);
  CHECK(float_from_f16(out[4]) == -65504.0f);
  CHECK(float_from_f16(out[8]) == infinity);
  CHECK(std::isnan(float_from_f16(out[10])));
}

TEST_CASE("convert: f32 to bf16 saturates only at the very top") {
  ConversionCounts counts;
  const float largest = std::numeric_limits<float>::max();
  const auto out = narrowed({1e30f, largest, -largest}, DType::bf16, counts);
  CHECK(counts.saturated == 2);
  CHECK(std::isfinite(float_from_bf16(out[1])));
  CHECK(float_from_bf16(out[2]) == -float_from_bf16(out[1]));
}

TEST_CASE("convert: bf16 to f16 goes by value, equal dtypes bit by bit, at any address") {
  const std::uint16_t source[] = {bf16_from_float(1.5f), bf16_from_float(3e38f)};
  std::byte raw[5], out[5];
  std::memcpy(raw + 1, source, sizeof source);
  ConversionCounts counts;
  convert(raw + 1, DType::bf16, out + 1, DType::f16, 2, counts);
  std::uint16_t halves[2];
  std::memcpy(halves, out + 1, sizeof halves);
  CHECK(float_from_f16(halves[0]) == 1.5f);
  CHECK(float_from_f16(halves[1]) == 65504.0f);
  CHECK(counts.saturated == 1);

  counts = {};
  const std::uint16_t odd[] = {0x7c00, 0x0001};  // infinity, a subnormal
  convert(reinterpret_cast<const std::byte*>(odd), DType::f16, out + 1, DType::f16, 2, counts);
  CHECK(std::memcmp(out + 1, odd, sizeof odd) == 0);
  CHECK(counts.not_finite == 1);
  CHECK(counts.flushed == 0);
}
