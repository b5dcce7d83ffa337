#pragma once
// What the bodies of the CUDA kernels are written in.  nvcc compiles them for the GPU; the host
// compiler compiles the same bodies, and the tests run them group by group (host_launch.h).
//
// A kernel is a grid of groups [x, y] of `kLanes` threads each.  Every lane first calls part();
// join() folds the parts of a group into one; then every lane calls finish() with it.  How groups
// lie on blocks and warps is written once, in expert_kernels.cu.

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define WDMOE_DEVICE __host__ __device__ __forceinline__
#else
#include <cmath>

#include "common/tensor.h"
#define WDMOE_DEVICE inline
#endif

namespace wdmoe::cuda {

/// Where a lane stands.
struct Place {
  std::uint32_t x, y;         ///< its group
  std::uint32_t lane, lanes;  ///< its number in the group, and how many there are
};

using Half = std::uint16_t;  ///< the bits of an f16
constexpr float kHalfMax = 65504.0f;
constexpr Half kHalfInfinity = 0x7C00;

/// The numbers of wdmoe::DType.
constexpr std::uint32_t kF32 = 0, kF16 = 1, kBf16 = 2;

WDMOE_DEVICE std::uint32_t bits_of(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

WDMOE_DEVICE float float_from(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

WDMOE_DEVICE float half_to_float(Half bits) {
#if defined(__CUDACC__)
  return __half2float(__half(__half_raw{bits}));
#else
  return float_from_f16(bits);
#endif
}

/// Round to nearest even; overflow becomes infinity.
WDMOE_DEVICE Half half_from(float value) {
#if defined(__CUDACC__)
  return __half_raw(__float2half_rn(value)).x;
#else
  return f16_from_float(value);
#endif
}

WDMOE_DEVICE std::uint16_t bf16_from(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

WDMOE_DEVICE float magnitude(float value) {
  return float_from(bits_of(value) & 0x7FFFFFFFu);
}
WDMOE_DEVICE bool is_finite(float value) {
  return (bits_of(value) & 0x7F800000u) != 0x7F800000u;
}
WDMOE_DEVICE float larger(float a, float b) {
  return a > b ? a : b;
}

/// x · sigmoid(x)
WDMOE_DEVICE float silu(float x) {
#if defined(__CUDACC__)
  return x / (1.0f + expf(-x));
#else
  return x / (1.0f + std::exp(-x));
#endif
}

/// Element `index` of a row of `dtype`.
WDMOE_DEVICE float element(const void* row, std::uint32_t dtype, std::uint32_t index) {
  if (dtype == kF32) return static_cast<const float*>(row)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(row)[index];
  return dtype == kF16 ? half_to_float(bits) : float_from(std::uint32_t{bits} << 16);
}

/// A row as f16 numbers times a power of two: no row is too large or too small for f16.
struct RowScale {
  float up, down;  ///< stored = value · up; value = stored · down
};

/// The power of two that brings `largest`, the row's largest magnitude, into [2^14, 2^15).  Rows
/// of zeros and rows with infinities stay as they are.
WDMOE_DEVICE RowScale scale_for(float largest) {
  if (largest == 0 || !is_finite(largest)) return {1, 1};
  constexpr std::int32_t kBias = 127, kMost = 126;  // both powers stay normal numbers
  const std::int32_t exponent = static_cast<std::int32_t>(bits_of(largest) >> 23) - kBias;
  std::int32_t shift = exponent - 14;
  shift = shift < -kMost ? -kMost : shift;
  return {float_from(static_cast<std::uint32_t>(kBias - shift) << 23),
          float_from(static_cast<std::uint32_t>(kBias + shift) << 23)};
}

/// What kernels without a join() pass around.
struct Nothing {};

/// Eight f16 numbers, loaded as one.
struct alignas(16) HalfVector {
  Half at[8];
};

}  // namespace wdmoe::cuda
