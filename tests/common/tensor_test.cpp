#include "common/tensor.h"

#include <cmath>
#include <cstring>
#include <random>

#include <doctest/doctest.h>

using namespace wdmoe;

TEST_CASE("f16: every half survives the way to float and back") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_from_f16(half);
    if (std::isnan(value)) {
      CHECK(std::isnan(float_from_f16(f16_from_float(value))));
    } else if (f16_from_float(value) != half) {
      FAIL("half " << bits << " came back as " << f16_from_float(value));
    }
  }
}

TEST_CASE("f16: rounds to the nearest half, ties to even, and overflows to infinity") {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> exponent(-26, 17);
  for (int i = 0; i < 100'000; ++i) {
    const float value = std::exp2(exponent(random)) * (i % 2 == 0 ? 1.0f : -1.0f);
    const std::uint16_t half = f16_from_float(value);
    if (std::fabs(value) >= 65520.0f) {
      CHECK((half & 0x7fff) == 0x7c00);
      continue;
    }
    const float error = std::fabs(float_from_f16(half) - value);
    for (const int step : {-1, 1}) {
      const float other = float_from_f16(static_cast<std::uint16_t>(half + step));
      if (std::isfinite(other) && std::fabs(other - value) < error)
        FAIL(value << " has a nearer half than " << float_from_f16(half));
    }
  }
  CHECK(f16_from_float(2049.0f) == f16_from_float(2048.0f));  // tie: the even mantissa wins
  CHECK(f16_from_float(2051.0f) == f16_from_float(2052.0f));
}

TEST_CASE("bf16: rounds to nearest even and keeps NaN a NaN") {
  CHECK(float_from_bf16(bf16_from_float(1.0f)) == 1.0f);
  CHECK(float_from_bf16(bf16_from_float(1.00390625f)) == 1.0f);       // tie to even
  CHECK(float_from_bf16(bf16_from_float(1.01171875f)) == 1.015625f);  // tie to even, upwards
  CHECK(std::isnan(float_from_bf16(bf16_from_float(std::nanf("")))));
}

TEST_CASE("dtype: names round-trip and strangers are refused by name") {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    CHECK(dtype_from(name_of(dtype)).value() == dtype);
  const auto refused = dtype_from("int8");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text.find("int8") != std::string::npos);
}
