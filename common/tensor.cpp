#include "common/tensor.h"

#include <cstring>
#include <string>

namespace wdmoe {
namespace {

std::uint32_t bits_of(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(std::uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

constexpr std::uint32_t kF32Infinity = 0x7f800000;
constexpr std::uint32_t kF16OverflowF32 = 0x47800000;  // 2^16: first f32 beyond f16's exponents
constexpr std::uint32_t kF16SmallestNormalF32 = 0x38800000;  // 2^-14

}  // namespace

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::bf16:
      return "bf16";
  }
  return "unknown";
}

Result<DType> dtype_from(std::string_view name) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    if (name_of(dtype) == name) return dtype;
  return fail(Code::bad_input, "dtype '" + std::string(name) + "': expected f32, f16 or bf16");
}

std::uint16_t f16_from_float(float value) {
  const std::uint32_t bits = bits_of(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > kF32Infinity) return static_cast<std::uint16_t>(sign | 0x7e00u);  // quiet NaN
  if (magnitude >= kF16OverflowF32) return static_cast<std::uint16_t>(sign | 0x7c00u);
  std::uint32_t rounded = 0;
  if (magnitude < kF16SmallestNormalF32) {
    // Adding 0.5 aligns the subnormal's bits with the low mantissa bits; the FPU rounds to even.
    rounded = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  } else {
    const std::uint32_t odd = (magnitude >> 13) & 1u;
    rounded = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;
  }
  return static_cast<std::uint16_t>(sign | rounded);
}

float float_from_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return float_of(sign | kF32Infinity | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return float_of(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

std::uint16_t bf16_from_float(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > kF32Infinity)  // keep NaN a NaN
    return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  const std::uint32_t odd = (bits >> 16) & 1u;
  return static_cast<std::uint16_t>((bits + 0x7fffu + odd) >> 16);
}

float float_from_bf16(std::uint16_t bits) {
  return float_of(std::uint32_t{bits} << 16);
}

}  // namespace wdmoe
