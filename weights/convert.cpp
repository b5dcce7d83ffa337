#include "weights/convert.h"

#include <cmath>
#include <cstring>

namespace wdmoe::weights {
namespace {

float load(const std::byte* from, DType dtype) {
  if (dtype == DType::f32) {
    float value = 0;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof bits);
  return dtype == DType::f16 ? float_from_f16(bits) : float_from_bf16(bits);
}

float value_of(std::uint16_t bits, DType dtype) {
  return dtype == DType::f16 ? float_from_f16(bits) : float_from_bf16(bits);
}

/// The nearest finite 16-bit value.
std::uint16_t narrow(float value, DType dtype, ConversionCounts& counts) {
  const std::uint16_t bits = dtype == DType::f16 ? f16_from_float(value) : bf16_from_float(value);
  if (!std::isfinite(value)) {
    ++counts.not_finite;
    return bits;
  }
  const float back = value_of(bits, dtype);
  if (std::isinf(back)) {
    ++counts.saturated;
    return static_cast<std::uint16_t>(bits - 1);  // one below infinity: the largest finite value
  }
  if (back == 0 && value != 0) ++counts.flushed;
  return bits;
}

}  // namespace

void convert(const std::byte* from, DType from_dtype, std::byte* to, DType to_dtype,
             std::size_t count, ConversionCounts& counts) {
  const std::size_t from_step = bytes_of(from_dtype), to_step = bytes_of(to_dtype);
  if (from_dtype == to_dtype) {
    std::memcpy(to, from, count * from_step);
    for (std::size_t i = 0; i < count; ++i)
      if (!std::isfinite(load(from + i * from_step, from_dtype))) ++counts.not_finite;
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const float value = load(from + i * from_step, from_dtype);
    if (to_dtype == DType::f32) {
      if (!std::isfinite(value)) ++counts.not_finite;
      std::memcpy(to + i * to_step, &value, sizeof value);
    } else {
      const std::uint16_t bits = narrow(value, to_dtype, counts);
      std::memcpy(to + i * to_step, &bits, sizeof bits);
    }
  }
}

}  // namespace wdmoe::weights
