// Loads and stores of f32, f16 and bf16 as f32 vectors, for whichever target is being compiled.
// Included once per target (Highway's foreach_target), hence the toggled guard.  Addresses may be
// unaligned: everything goes through byte loads, never through a T*.

#if defined(WDMOE_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WDMOE_KERNELS_SIMD_INL_H_
#undef WDMOE_KERNELS_SIMD_INL_H_
#else
#define WDMOE_KERNELS_SIMD_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "common/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::ScalableTag<float>;
using PairTag = hn::Rebind<std::uint32_t, FloatTag>;  ///< a lane: two bf16, the first one low
using Floats = hn::Vec<FloatTag>;
using Pairs = hn::Vec<PairTag>;

// Where the instruction set converts halves itself; Highway's own substitutes do not round to
// nearest even or keep infinities, so elsewhere we do it with integers.
#undef WDMOE_NATIVE_F16
#if HWY_ARCH_ARM_A64 || (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2)
#define WDMOE_NATIVE_F16 1
#else
#define WDMOE_NATIVE_F16 0
#endif

template <class D>
HWY_INLINE hn::Vec<D> load_bytes(D d, const std::byte* at) {
#if HWY_TARGET == HWY_SCALAR
  hn::TFromD<D> lane;
  std::memcpy(&lane, at, sizeof lane);
  return hn::LoadU(d, &lane);
#else
  const hn::Repartition<std::uint8_t, D> d8;
  return hn::BitCast(d, hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(at)));
#endif
}

template <class D>
HWY_INLINE void store_bytes(hn::Vec<D> v, [[maybe_unused]] D d, std::byte* at) {
#if HWY_TARGET == HWY_SCALAR
  hn::TFromD<D> lane;
  hn::StoreU(v, d, &lane);
  std::memcpy(at, &lane, sizeof lane);
#else
  const hn::Repartition<std::uint8_t, D> d8;
  hn::StoreU(hn::BitCast(d8, v), d8, reinterpret_cast<std::uint8_t*>(at));
#endif
}

/// 16-bit lanes at `at`, widened to 32 bits.
template <class D>
HWY_INLINE hn::Vec<hn::Rebind<std::uint32_t, D>> load_u16(D, const std::byte* at) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::Rebind<std::uint32_t, D> d32;
  return hn::PromoteTo(d32, load_bytes(d16, at));
}

/// Stores 32-bit lanes that hold 16-bit values.
template <class D>
HWY_INLINE void store_u16(hn::Vec<hn::Rebind<std::uint32_t, D>> bits, D, std::byte* at) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::Rebind<std::int32_t, D> di;
  store_bytes(hn::DemoteTo(d16, hn::BitCast(di, bits)), d16, at);
}

struct F32 {
  static constexpr std::size_t kBytes = 4;
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* at) {
    return load_bytes(d, at);
  }
  template <class D>
  static HWY_INLINE void store(hn::Vec<D> v, D d, std::byte* at) {
    store_bytes(v, d, at);
  }
  static HWY_INLINE float load_one(const std::byte* at) {
    float value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  static HWY_INLINE void store_one(float value, std::byte* at) {
    std::memcpy(at, &value, sizeof value);
  }
};

/// One 16-bit element at a time, by the scalar conversions of common/tensor.h.
template <float (*kWiden)(std::uint16_t), std::uint16_t (*kRound)(float)>
struct HalfElement {
  static constexpr std::size_t kBytes = 2;
  static HWY_INLINE std::uint16_t load_bits(const std::byte* at) {
    std::uint16_t bits;
    std::memcpy(&bits, at, sizeof bits);
    return bits;
  }
  static HWY_INLINE float load_one(const std::byte* at) { return kWiden(load_bits(at)); }
  static HWY_INLINE void store_one(float value, std::byte* at) {
    const std::uint16_t bits = kRound(value);
    std::memcpy(at, &bits, sizeof bits);
  }
};

struct BF16 : HalfElement<float_from_bf16, bf16_from_float> {
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* at) {
    return hn::BitCast(d, hn::ShiftLeft<16>(load_u16(d, at)));
  }
  /// Rounds to nearest even; a NaN stays a NaN.
  template <class D>
  static HWY_INLINE void store(hn::Vec<D> v, D d, std::byte* at) {
    const hn::Rebind<std::uint32_t, D> du;
    const auto bits = hn::BitCast(du, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40u));
    const auto is_number = hn::RebindMask(du, hn::Eq(v, v));
    store_u16(hn::IfThenElse(is_number, rounded, quiet), d, at);
  }
};

struct F16 : HalfElement<float_from_f16, f16_from_float> {
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* at) {
#if WDMOE_NATIVE_F16
    const hn::Rebind<hwy::float16_t, D> d16;
    return hn::PromoteTo(d, load_bytes(d16, at));
#else
    // Shifted into place the exponent is 112 too small, for subnormals too; infinity and NaN
    // then need the exponent of all ones.
    const hn::Rebind<std::uint32_t, D> du;
    const auto half = load_u16(d, at);
    const auto magnitude = hn::And(half, hn::Set(du, 0x7fffu));
    const auto sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(du, 0x8000u)));
    const auto scaled = hn::BitCast(
        du, hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(magnitude)), hn::Set(d, 0x1p112f)));
    const hn::Rebind<std::int32_t, D> di;
    const auto special =
        hn::RebindMask(du, hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x7bff)));
    const auto all_ones = hn::IfThenElseZero(special, hn::Set(du, 0x7f800000u));
    return hn::BitCast(d, hn::Or(sign, hn::Or(scaled, all_ones)));
#endif
  }
  /// Rounds to nearest even; too large becomes infinity.  As f16_from_float().
  template <class D>
  static HWY_INLINE void store(hn::Vec<D> v, [[maybe_unused]] D d, std::byte* at) {
#if WDMOE_NATIVE_F16
    const hn::Rebind<hwy::float16_t, D> d16;
    store_bytes(hn::DemoteTo(d16, v), d16, at);
#else
    const hn::Rebind<std::uint32_t, D> du;
    const hn::Rebind<std::int32_t, D> di;
    const auto bits = hn::BitCast(du, v);
    const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000u));
    const auto magnitude = hn::And(bits, hn::Set(du, 0x7fffffffu));
    const auto at_least = [&](std::int32_t bound) {
      return hn::RebindMask(du, hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, bound - 1)));
    };
    const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1u));
    const auto normal = hn::ShiftRight<13>(
        hn::Add(hn::Sub(magnitude, hn::Set(du, 112u << 23)), hn::Add(odd, hn::Set(du, 0xfffu))));
    // Adding 0.5 aligns a subnormal's bits with the low mantissa bits; the FPU rounds to even.
    const auto half = hn::Set(d, 0.5f);
    const auto subnormal =
        hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, magnitude), half)), hn::BitCast(du, half));
    auto result = hn::IfThenElse(at_least(0x38800000), normal, subnormal);        // 2^-14
    result = hn::IfThenElse(at_least(0x47800000), hn::Set(du, 0x7c00u), result);  // 2^16
    result = hn::IfThenElse(at_least(0x7f800001), hn::Set(du, 0x7e00u), result);  // NaN
    store_u16(hn::Or(sign, result), d, at);
#endif
  }
};

/// Calls function(F32{} | F16{} | BF16{}) for a dtype known only at run time.
template <class Function>
HWY_INLINE void with_element(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::f32:
      return function(F32{});
    case DType::f16:
      return function(F16{});
    case DType::bf16:
      return function(BF16{});
  }
}

}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
