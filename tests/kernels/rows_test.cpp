#include "kernels/rows.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "kernels/ops.h"
#include "kernels/reference.h"
#include "tests/kernels/kernel_cases.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

namespace {

constexpr std::size_t kLengths[] = {1,  2,  3,  4,  5,  7,  8,  9,   12,
                                    15, 16, 17, 31, 33, 36, 64, 127, 512};
constexpr DType kDTypes[] = {DType::f32, DType::f16, DType::bf16};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

double wide(float value) {
  return static_cast<double>(value);
}

/// Numbers that conversions get wrong: ties, subnormals, overflow, infinities, NaN, signed zero.
std::vector<float> awkward_floats() {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               1.0f,
                               2049.0f,
                               2051.0f,
                               65504.0f,
                               65519.0f,
                               65519.9f,
                               65520.0f,
                               -65520.0f,
                               1e30f,
                               kInfinity,
                               -kInfinity,
                               0x1p-14f,
                               0x1p-24f,
                               0x1p-25f,
                               0x1.8p-25f,
                               0x1p-26f,
                               0x1p-126f,
                               0x1p-149f,
                               1.00390625f,
                               1.01171875f,
                               std::numeric_limits<float>::max(),
                               3.3895314e38f,
                               std::numeric_limits<float>::quiet_NaN()};
  std::mt19937 random(17);
  std::uniform_real_distribution<float> exponent(-150, 128);
  for (int i = 0; i < 20'000; ++i)
    values.push_back(std::exp2(exponent(random)) * (i % 2 == 0 ? 1.0f : -1.0f));
  return values;
}

}  // namespace

TEST_CASE("to_wire: rounds every number exactly as the scalar conversion does") {
  const std::vector<float> values = awkward_floats();
  const std::size_t count = values.size();
  for_each_target([&](const char* target) {
    CAPTURE(target);
    for (const DType dtype : {DType::f16, DType::bf16}) {
      CAPTURE(name_of(dtype));
      std::vector<std::byte> bytes(1 + count * 2);
      const MutableTensor out{bytes.data() + 1, dtype, 1, count};
      CHECK(to_wire({values.data(), 1, count}, out) == (dtype != DType::f16));
      for (std::size_t i = 0; i < count; ++i) {
        std::uint16_t bits = 0;
        std::memcpy(&bits, out.data + 2 * i, 2);
        const bool half = dtype == DType::f16;
        const std::uint16_t expected =
            half ? f16_from_float(values[i]) : bf16_from_float(values[i]);
        if (std::isnan(values[i])) {
          CHECK(std::isnan(half ? float_from_f16(bits) : float_from_bf16(bits)));
        } else if (bits != expected) {
          FAIL("value " << values[i] << " became " << bits << ", expected " << expected);
        }
      }
    }
  });
}

TEST_CASE("from_wire: reads every half and every bfloat exactly, from odd addresses") {
  constexpr std::size_t kAll = 0x10000;
  std::vector<std::byte> bytes(1 + 2 * kAll);
  for (std::size_t i = 0; i < kAll; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    std::memcpy(bytes.data() + 1 + 2 * i, &bits, 2);
  }
  for_each_target([&](const char* target) {
    CAPTURE(target);
    for (const DType dtype : {DType::f16, DType::bf16}) {
      std::vector<float> out(kAll);
      from_wire({bytes.data() + 1, dtype, 1, kAll}, {out.data(), 1, kAll});
      for (std::size_t i = 0; i < kAll; ++i) {
        const auto bits = static_cast<std::uint16_t>(i);
        const float expected = dtype == DType::f16 ? float_from_f16(bits) : float_from_bf16(bits);
        if (std::isnan(expected) ? !std::isnan(out[i])
                                 : std::memcmp(&out[i], &expected, sizeof expected) != 0)
          FAIL(name_of(dtype) << " " << i << " became " << out[i] << ", expected " << expected);
      }
    }
  });
}

TEST_CASE("to_wire: reports overflow only for finite numbers and only for f16") {
  for_each_target([&](const char* target) {
    CAPTURE(target);
    for (const std::size_t length : kLengths)
      for (const float last : {1.0f, 65519.0f, 65520.0f, -1e38f, kInfinity, std::nanf("")}) {
        std::vector<float> x(length, 1.0f);
        x.back() = last;
        std::vector<std::byte> bytes(4 * length);
        const bool too_large = std::isfinite(last) && std::fabs(last) >= 65520;
        for (const DType dtype : kDTypes)
          CHECK(to_wire({x.data(), 1, length}, {bytes.data(), dtype, 1, length}) ==
                !(too_large && dtype == DType::f16));
      }
  });
}

TEST_CASE("copy_row: gives back rows of any length and dtype") {
  std::mt19937 random(19);
  for_each_target([&](const char* target) {
    CAPTURE(target);
    for (const DType dtype : kDTypes)
      for (const std::size_t length : kLengths) {
        const OwnedTensor table(3, length, dtype, length % 4, random);
        std::vector<float> actual(length), expected(length);
        copy_row(table.view(), 2, actual.data());
        reference::copy_row(table.view(), 2, expected.data());
        CHECK(actual == expected);
      }
  });
}

TEST_CASE("rms_norm: equals the reference, in place too") {
  std::mt19937 random(23);
  for_each_target([&](const char* target) {
    CAPTURE(target);
    for (const DType dtype : kDTypes)
      for (const std::size_t length : kLengths) {
        const OwnedTensor weight(1, length, dtype, 1, random);
        std::vector<float> x = random_floats(2 * length, random), expected(2 * length);
        reference::rms_norm(weight.view(), 1e-5f, {x.data(), 2, length},
                            {expected.data(), 2, length});
        rms_norm(weight.view(), 1e-5f, {x.data(), 2, length}, {x.data(), 2, length});
        // The sum of squares is off by length·eps relative, halved by the root; four roundings.
        WorstError worst;
        for (std::size_t i = 0; i < x.size(); ++i)
          worst.see(
              wide(x[i]), wide(expected[i]),
              (static_cast<double>(length) / 2 + 5) * kEpsilon * std::fabs(wide(expected[i])));
        CHECK(worst.ratio() <= 1);
      }
  });
}

TEST_CASE("add_scaled: equals the reference") {
  std::mt19937 random(29);
  for_each_target([&](const char* target) {
    CAPTURE(target);
    for (const std::size_t length : kLengths) {
      const std::vector<float> x = random_floats(2 * length, random);
      std::vector<float> y = random_floats(2 * length, random), expected = y;
      add_scaled(0.3f, {x.data(), 2, length}, {y.data(), 2, length});
      reference::add_scaled(0.3f, {x.data(), 2, length}, {expected.data(), 2, length});
      WorstError worst;  // two roundings of numbers below 1.3
      for (std::size_t i = 0; i < y.size(); ++i)
        worst.see(wide(y[i]), wide(expected[i]), 2 * 1.3 * kEpsilon);
      CHECK(worst.ratio() <= 1);
    }
  });
}

TEST_CASE("rotate: equals the reference near and far, for whole, odd and tiny heads") {
  std::mt19937 random(31);
  for_each_target([&](const char* target) {
    CAPTURE(target);
    for (const std::size_t head_dim : {2u, 4u, 12u, 18u, 64u, 160u})
      for (const std::uint32_t position : {0u, 1u, 511u, 32'767u, 131'071u}) {
        CAPTURE(head_dim);
        CAPTURE(position);
        std::vector<float> frequencies;
        for (std::size_t i = 0; i < head_dim / 2; ++i)
          frequencies.push_back(static_cast<float>(
              std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim))));
        const std::uint32_t positions[] = {position, position + 1};
        const std::size_t cols = 3 * head_dim;
        std::vector<float> heads = random_floats(2 * cols, random), expected = heads;
        rotate({heads.data(), 2, cols}, head_dim, positions, frequencies);
        reference::rotate({expected.data(), 2, cols}, head_dim, positions, frequencies);
        // Sine and cosine are within 3 ulp of numbers up to 1 (Highway), then two products and a
        // sum of numbers below 1.
        WorstError worst;
        for (std::size_t i = 0; i < heads.size(); ++i)
          worst.see(wide(heads[i]), wide(expected[i]), (2 * 3 * 2 + 4) * kEpsilon);
        CHECK(worst.ratio() <= 1);
      }
  });
}

TEST_CASE("softmax_rows: equals the reference and sums to one, for large scores too") {
  std::mt19937 random(37);
  for_each_target([&](const char* target) {
    CAPTURE(target);
    for (const float scale : {1.0f, 50.0f, 1e4f})
      for (const std::size_t length : kLengths) {
        std::vector<float> x = random_floats(2 * length, random);
        for (float& value : x) value *= scale;
        std::vector<float> expected = x;
        softmax_rows({x.data(), 2, length});
        reference::softmax_rows({expected.data(), 2, length});
        // exp is within 2 ulp of its f32 argument, whose rounding (up to 2·scale·eps) it turns
        // into a relative error; the sum adds length·eps.
        WorstError worst;
        for (std::size_t i = 0; i < x.size(); ++i)
          worst.see(
              wide(x[i]), wide(expected[i]),
              (2 * wide(scale) + 8 + static_cast<double>(length)) * kEpsilon * wide(expected[i]) +
                  1e-37);
        CHECK(worst.ratio() <= 1);
      }
  });
}

TEST_CASE("silu_multiply: is within a few ulp over the whole range of f32") {
  std::vector<float> gate = {0.0f, -0.0f, 88.0f, -88.0f, 104.0f, -104.0f, 1e30f, -1e30f, 1e-30f};
  for (float x = -30; x < 30; x += 0.0371f) gate.push_back(x);
  const std::size_t count = gate.size();
  const std::vector<float> up(count, 1.0f);
  for_each_target([&](const char* target) {
    CAPTURE(target);
    std::vector<float> out(count);
    silu_multiply({gate.data(), 1, count}, {up.data(), 1, count}, {out.data(), 1, count});
    // exp (2 ulp), sum, quotient and two products: 2·2 + 4 roundings.  Below -88, where silu is
    // smaller than 1e-36, the exponent is clamped.
    WorstError worst;
    for (std::size_t i = 0; i < count; ++i) {
      const double expected = reference::silu(wide(gate[i]));
      worst.see(wide(out[i]), expected,
                8 * kEpsilon * std::fabs(expected) + 1e-38 * std::fabs(wide(gate[i])) + 1e-36);
    }
    CHECK(worst.ratio() <= 1);
  });
}
