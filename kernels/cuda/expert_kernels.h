#pragma once
// The own kernels of the CUDA backend: everything around the two products of an expert, and the
// products themselves for a few rows.
//
//   load     ConvertWeights   bf16/f32 weights -> f16, saturating, counted
//   message  Gather           x[a] = in[row of a] as scaled f16
//            few rows:        GateUpVector, DownVector (one warp per output number)
//            many rows:       cuBLAS gate+up, SiluMultiply, cuBLAS down, per expert
//            ScatterAdd       out[row] = sum over its assignments of weight · y, in order of work
//
// `a` counts assignments (a row that visits an expert), expert after expert.  Sums are f32.  No
// kernel adds atomically to a result, so an answer has the same bits every time.
// Speed: not measured on hardware (docs/cuda.md).  Tests: tests/kernels/cuda.

#include <cstddef>

#include "kernels/cuda/device.h"

namespace wdmoe::cuda {

constexpr std::uint32_t kBlockLanes = 256;  ///< threads of a block, whatever the kernel

/// One assignment, as the host writes it for every message.
struct Assigned {
  const Half* gate_up;  ///< [2·ffn, hidden]: gate's rows, then up's
  const Half* down;     ///< [hidden, ffn]
  std::uint32_t row;    ///< of the input and of the output
  std::uint32_t ffn;
  float weight;
  std::uint32_t unused;
};

/// One group of 256 lanes per assignment; grid [count, 1].
struct Gather {
  static constexpr const char* kName = "wdmoe_gather";
  static constexpr std::uint32_t kLanes = 256;
  static constexpr bool kJoins = true;
  using Part = float;
  struct Args {
    const void* in;            ///< [rows, hidden] of dtype
    const Assigned* assigned;  ///< [count]
    Half* x;                   ///< [count, hidden]
    float* x_scale;            ///< [count]
    std::uint32_t* overflow;   ///< cleared here, set by ScatterAdd
    std::uint32_t dtype, hidden, count;
  };

  WDMOE_DEVICE static const char* row_of(const Args& args, std::uint32_t a) {
    const std::uint64_t bytes = std::uint64_t{args.hidden} * (args.dtype == kF32 ? 4u : 2u);
    return static_cast<const char*>(args.in) + args.assigned[a].row * bytes;
  }
  WDMOE_DEVICE static float part(const Place& place, const Args& args) {
    float largest = 0;
    if (place.x >= args.count) return largest;
    const char* row = row_of(args, place.x);
    for (std::uint32_t col = place.lane; col < args.hidden; col += place.lanes)
      largest = larger(magnitude(element(row, args.dtype, col)), largest);
    return largest;
  }
  WDMOE_DEVICE static float join(float a, float b) { return larger(a, b); }
  WDMOE_DEVICE static void finish(const Place& place, const Args& args, float largest) {
    if (place.x >= args.count) return;
    const RowScale scale = scale_for(largest);
    const char* row = row_of(args, place.x);
    Half* x = args.x + std::uint64_t{place.x} * args.hidden;
    for (std::uint32_t col = place.lane; col < args.hidden; col += place.lanes)
      x[col] = half_from(element(row, args.dtype, col) * scale.up);
    if (place.lane == 0) args.x_scale[place.x] = scale.down;
    if (place.lane == 0 && place.x == 0) *args.overflow = 0;
  }
};

/// h = silu(gate) ∘ up of one expert's rows, as scaled f16; one group per row, grid [count, 1].
struct SiluMultiply {
  static constexpr const char* kName = "wdmoe_silu_multiply";
  static constexpr std::uint32_t kLanes = 256;
  static constexpr bool kJoins = true;
  using Part = float;
  struct Args {
    const float* gate_up;  ///< [count, 2·ffn], of rows scaled by x_scale
    const float* x_scale;  ///< [count]
    Half* h;               ///< [count, ffn]
    float* h_scale;        ///< [count]
    std::uint32_t ffn, count;
  };

  WDMOE_DEVICE static float value(const Args& args, std::uint32_t row, std::uint32_t unit) {
    const float* gate = args.gate_up + std::uint64_t{row} * 2u * args.ffn;
    const float scale = args.x_scale[row];
    return silu(gate[unit] * scale) * (gate[args.ffn + unit] * scale);
  }
  WDMOE_DEVICE static float part(const Place& place, const Args& args) {
    float largest = 0;
    if (place.x >= args.count) return largest;
    for (std::uint32_t unit = place.lane; unit < args.ffn; unit += place.lanes)
      largest = larger(magnitude(value(args, place.x, unit)), largest);
    return largest;
  }
  WDMOE_DEVICE static float join(float a, float b) { return larger(a, b); }
  WDMOE_DEVICE static void finish(const Place& place, const Args& args, float largest) {
    if (place.x >= args.count) return;
    const RowScale scale = scale_for(largest);
    Half* h = args.h + std::uint64_t{place.x} * args.ffn;
    for (std::uint32_t unit = place.lane; unit < args.ffn; unit += place.lanes)
      h[unit] = half_from(value(args, place.x, unit) * scale.up);
    if (place.lane == 0) args.h_scale[place.x] = scale.down;
  }
};

/// A lane's share of weight · x, eight numbers at a time where rows begin at multiples of 16 bytes.
template <class X>
WDMOE_DEVICE float dot_part(const Place& place, const Half* weight, const X& x,
                            std::uint32_t length) {
  float sum = 0;
  if (length % 8 != 0) {
    for (std::uint32_t k = place.lane; k < length; k += place.lanes)
      sum += half_to_float(weight[k]) * x(k);
    return sum;
  }
  for (std::uint32_t k = place.lane * 8; k < length; k += place.lanes * 8) {
    const HalfVector eight = *reinterpret_cast<const HalfVector*>(weight + k);
    for (std::uint32_t i = 0; i < 8; ++i) sum += half_to_float(eight.at[i]) * x(k + i);
  }
  return sum;
}

/// h[a, unit] = silu(gate·x) · (up·x) for a few rows; one warp per number, grid [widest ffn,
/// count].
struct GateUpVector {
  static constexpr const char* kName = "wdmoe_gate_up_vector";
  static constexpr std::uint32_t kLanes = 32;
  static constexpr bool kJoins = true;
  struct Part {
    float gate, up;
  };
  struct Args {
    const Assigned* assigned;
    const Half* x;         ///< [count, hidden]
    const float* x_scale;  ///< [count]
    float* h;              ///< [count, stride]
    float* h_scale;        ///< [count], becomes 1
    std::uint32_t hidden, count, stride;
  };

  WDMOE_DEVICE static Part part(const Place& place, const Args& args) {
    if (place.y >= args.count || place.x >= args.assigned[place.y].ffn) return {0, 0};
    const Assigned& to = args.assigned[place.y];
    const Half* x = args.x + std::uint64_t{place.y} * args.hidden;
    const auto input = [x](std::uint32_t k) { return half_to_float(x[k]); };
    const std::uint64_t up = std::uint64_t{to.ffn} + place.x;
    return {dot_part(place, to.gate_up + std::uint64_t{place.x} * args.hidden, input, args.hidden),
            dot_part(place, to.gate_up + up * args.hidden, input, args.hidden)};
  }
  WDMOE_DEVICE static Part join(Part a, Part b) { return {a.gate + b.gate, a.up + b.up}; }
  WDMOE_DEVICE static void finish(const Place& place, const Args& args, Part sums) {
    if (place.lane != 0 || place.y >= args.count || place.x >= args.assigned[place.y].ffn) return;
    const float scale = args.x_scale[place.y];
    args.h[std::uint64_t{place.y} * args.stride + place.x] =
        silu(sums.gate * scale) * (sums.up * scale);
    if (place.x == 0) args.h_scale[place.y] = 1;
  }
};

/// y[a, col] = down·h for a few rows; one warp per number, grid [hidden, count].
struct DownVector {
  static constexpr const char* kName = "wdmoe_down_vector";
  static constexpr std::uint32_t kLanes = 32;
  static constexpr bool kJoins = true;
  using Part = float;
  struct Args {
    const Assigned* assigned;
    const float* h;  ///< [count, stride]
    float* y;        ///< [count, hidden]
    std::uint32_t hidden, count, stride;
  };

  WDMOE_DEVICE static float part(const Place& place, const Args& args) {
    if (place.y >= args.count || place.x >= args.hidden) return 0;
    const Assigned& to = args.assigned[place.y];
    const float* h = args.h + std::uint64_t{place.y} * args.stride;
    return dot_part(
        place, to.down + std::uint64_t{place.x} * to.ffn, [h](std::uint32_t k) { return h[k]; },
        to.ffn);
  }
  WDMOE_DEVICE static float join(float a, float b) { return a + b; }
  WDMOE_DEVICE static void finish(const Place& place, const Args& args, float sum) {
    if (place.lane != 0 || place.y >= args.count || place.x >= args.hidden) return;
    args.y[std::uint64_t{place.y} * args.hidden + place.x] = sum;
  }
};

/// out[row] = sum of weight · y over the row's assignments; a lane per number,
/// grid [ceil(hidden / 256), rows].
struct ScatterAdd {
  static constexpr const char* kName = "wdmoe_scatter_add";
  static constexpr std::uint32_t kLanes = 256;
  static constexpr bool kJoins = false;
  using Part = Nothing;
  struct Args {
    const Assigned* assigned;
    const std::uint32_t* first;  ///< [rows + 1]: a row's assignments are order[first .. next first)
    const std::uint32_t* order;  ///< [count]
    const float* y;              ///< [count, hidden]
    const float* h_scale;        ///< [count]
    void* out;                   ///< [rows, hidden] of dtype
    std::uint32_t* overflow;     ///< 1: a finite sum did not fit f16
    std::uint32_t dtype, hidden, rows;
  };

  WDMOE_DEVICE static Nothing part(const Place&, const Args&) { return {}; }
  WDMOE_DEVICE static Nothing join(Nothing, Nothing) { return {}; }
  WDMOE_DEVICE static void finish(const Place& place, const Args& args, Nothing) {
    const std::uint32_t col = place.x * place.lanes + place.lane;
    if (place.y >= args.rows || col >= args.hidden) return;
    float sum = 0;
    for (std::uint32_t next = args.first[place.y]; next < args.first[place.y + 1]; ++next) {
      const std::uint32_t a = args.order[next];
      const float y = args.y[std::uint64_t{a} * args.hidden + col] * args.h_scale[a];
      sum += args.assigned[a].weight * y;
    }
    const std::uint64_t at = std::uint64_t{place.y} * args.hidden + col;
    if (args.dtype == kF32) {
      static_cast<float*>(args.out)[at] = sum;
    } else if (args.dtype == kBf16) {
      static_cast<std::uint16_t*>(args.out)[at] = bf16_from(sum);
    } else {
      const Half rounded = half_from(sum);
      static_cast<Half*>(args.out)[at] = rounded;
      if ((rounded & 0x7FFFu) == kHalfInfinity && is_finite(sum)) *args.overflow = 1;
    }
  }
};

/// out = in as f16, finite values beyond its range become ±65504 and are counted; a lane per
/// number, grid [ceil(count / 256), 1].
struct ConvertWeights {
  static constexpr const char* kName = "wdmoe_convert_weights";
  static constexpr std::uint32_t kLanes = 256;
  static constexpr bool kJoins = false;
  using Part = Nothing;
  struct Args {
    const void* in;  ///< [count] of dtype, f32 or bf16
    Half* out;       ///< [count]
    unsigned long long* saturated;
    std::uint32_t dtype, count;
  };

  WDMOE_DEVICE static Nothing part(const Place&, const Args&) { return {}; }
  WDMOE_DEVICE static Nothing join(Nothing, Nothing) { return {}; }
  WDMOE_DEVICE static void finish(const Place& place, const Args& args, Nothing) {
    const std::uint32_t at = place.x * place.lanes + place.lane;
    if (at >= args.count) return;
    const float value = element(args.in, args.dtype, at);
    Half rounded = half_from(value);
    if ((rounded & 0x7FFFu) == kHalfInfinity && is_finite(value)) {
      rounded = static_cast<Half>(rounded - 1);  // the largest finite number of that sign
#if defined(__CUDA_ARCH__)
      atomicAdd(args.saturated, 1ull);
#else
      ++*args.saturated;
#endif
    }
    args.out[at] = rounded;
  }
};

template <class... Kernels>
struct KernelList {};
using ExpertKernels =
    KernelList<ConvertWeights, Gather, SiluMultiply, GateUpVector, DownVector, ScatterAdd>;
constexpr std::size_t kKernels = 6;

}  // namespace wdmoe::cuda
