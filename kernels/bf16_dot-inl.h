// The processor's own bf16 dot product, where there is one:
//   sum[i] + a[2i]·b[2i] + a[2i+1]·b[2i+1]   for pairs of bf16 that share a 32-bit lane.
// Highway names it ReorderWidenMulAccumulate from 1.1 on, for targets that imply the instruction.
// For older ones (Debian 12 has 1.0.3) and for AVX-512 targets that do not imply it, it is two
// instructions of AVX-512-BF16 and a look at the processor.  In assembly, because intrinsics would
// need functions compiled for another target than Highway's, and those do not inline here.
// Included once per target, hence the toggled guard.  Tests substitute another Dot for this one.

#if defined(WDMOE_KERNELS_BF16_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WDMOE_KERNELS_BF16_DOT_INL_H_
#undef WDMOE_KERNELS_BF16_DOT_INL_H_
#else
#define WDMOE_KERNELS_BF16_DOT_INL_H_
#endif

#include "kernels/simd-inl.h"

#undef WDMOE_HIGHWAY_BF16_DOT
#if defined(HWY_NATIVE_DOT_BF16) && HWY_NATIVE_DOT_BF16
#define WDMOE_HIGHWAY_BF16_DOT 1
#else
#define WDMOE_HIGHWAY_BF16_DOT 0
#endif

#undef WDMOE_NATIVE_BF16_DOT
#if WDMOE_HIGHWAY_BF16_DOT || (HWY_ARCH_X86_64 && HWY_TARGET <= HWY_AVX3)
#define WDMOE_NATIVE_BF16_DOT 1
#else
#define WDMOE_NATIVE_BF16_DOT 0
#endif

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {

#if WDMOE_HIGHWAY_BF16_DOT

struct NativeDot {
  using HalfTag = hn::Repartition<hwy::bfloat16_t, FloatTag>;

  static bool available() { return true; }
  static HWY_INLINE Floats add(Pairs a, Pairs b, Floats sum) {
    const HalfTag d16;
    Floats rest = hn::Zero(FloatTag());  // native targets leave it alone
    return hn::ReorderWidenMulAccumulate(FloatTag(), hn::BitCast(d16, a), hn::BitCast(d16, b), sum,
                                         rest);
  }
  /// The next two vectors of floats, rounded to nearest even.
  static HWY_INLINE Pairs round(const float* x) {
    const FloatTag d;
    return hn::BitCast(PairTag(), hn::OrderedDemote2To(HalfTag(), hn::LoadU(d, x),
                                                       hn::LoadU(d, x + hn::Lanes(d))));
  }
};

#elif WDMOE_NATIVE_BF16_DOT

struct NativeDot {
  static bool available() { return __builtin_cpu_supports("avx512bf16") != 0; }
  static HWY_INLINE Floats add(Pairs a, Pairs b, Floats sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
    return sum;
  }
  /// The next two vectors of floats, rounded to nearest even.
  static HWY_INLINE Pairs round(const float* x) {
    const FloatTag d;
    const Floats low = hn::LoadU(d, x), high = hn::LoadU(d, x + hn::Lanes(d));
    Pairs pairs;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(pairs.raw) : "v"(low.raw), "v"(high.raw));
    return pairs;
  }
};

#endif

}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
