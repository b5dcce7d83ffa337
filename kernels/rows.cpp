// Row-wise operations: norms, softmax, SiLU, rotary embedding, conversion to and from wire dtypes.
// All stream over rows of f32 once or twice; bound by L1/L2 or memory bandwidth except for exp,
// sine and cosine (Highway's polynomials, <= 3 ulp).
//
// Bench alone: tests/bench/kernels_bench --benchmark_filter='rows'

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rows.cpp"
#include "kernels/targets.h"
// targets.h must come before Highway, foreach_target before the rest
#include <hwy/foreach_target.h>
// foreach_target re-includes this file for each target
#include <cmath>
#include <limits>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/matmul.h"
#include "kernels/ops.h"
#include "kernels/rows.h"
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {
namespace {

using V = hn::Vec<FloatTag>;
constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());

/// Up to a vector of floats; lanes beyond `count` are `fill`.
HWY_INLINE V load_part(const float* from, std::size_t count, float fill = 0) {
  const FloatTag d;
  if (HWY_LIKELY(count >= kLanes)) return hn::LoadU(d, from);
  HWY_ALIGN float lanes[kLanes];
  hn::Store(hn::Set(d, fill), d, lanes);
  std::memcpy(lanes, from, count * sizeof(float));
  return hn::Load(d, lanes);
}

HWY_INLINE void store_part(V v, float* to, std::size_t count) {
  const FloatTag d;
  if (HWY_LIKELY(count >= kLanes)) return hn::StoreU(v, d, to);
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, d, lanes);
  std::memcpy(to, lanes, count * sizeof(float));
}

template <class Element>
HWY_INLINE V load_part_of(const std::byte* from, std::size_t count) {
  const FloatTag d;
  if (HWY_LIKELY(count >= kLanes)) return Element::load(d, from);
  HWY_ALIGN float lanes[kLanes] = {};
  for (std::size_t i = 0; i < count; ++i) lanes[i] = Element::load_one(from + i * Element::kBytes);
  return hn::Load(d, lanes);
}

/// Calls step(index, count) for each vector of a row; count < kLanes for the last one only.
template <class Step>
HWY_INLINE void for_each_vector(std::size_t cols, const Step& step) {
  std::size_t i = 0;
  for (; i + kLanes <= cols; i += kLanes) step(i, kLanes);
  if (i < cols) step(i, cols - i);
}

HWY_INLINE float sum_of(V v) {
  return hn::GetLane(hn::SumOfLanes(FloatTag(), v));
}
HWY_INLINE float largest_of(V v) {
  return hn::GetLane(hn::MaxOfLanes(FloatTag(), v));
}

void rms_norm(Tensor weight, float epsilon, Matrix<const float> x, Matrix<float> y) {
  const FloatTag d;
  with_element(weight.dtype, [&](auto element) {
    using Element = decltype(element);
    for (std::size_t row = 0; row < x.rows; ++row) {
      const float* in = x.row(row);
      float* out = y.row(row);
      V squares = hn::Zero(d);
      for_each_vector(x.cols, [&](std::size_t i, std::size_t count) {
        const V v = load_part(in + i, count);
        squares = hn::MulAdd(v, v, squares);
      });
      const float mean = sum_of(squares) / static_cast<float>(x.cols);
      const V scale = hn::Set(d, 1 / std::sqrt(mean + epsilon));
      for_each_vector(x.cols, [&](std::size_t i, std::size_t count) {
        const V w = load_part_of<Element>(weight.data + i * Element::kBytes, count);
        store_part(hn::Mul(hn::Mul(load_part(in + i, count), scale), w), out + i, count);
      });
    }
  });
}

void load_row(const std::byte* in, std::size_t count, DType dtype, float* out) {
  with_element(dtype, [&](auto element) {
    using Element = decltype(element);
    for_each_vector(count, [&](std::size_t i, std::size_t part) {
      store_part(load_part_of<Element>(in + i * Element::kBytes, part), out + i, part);
    });
  });
}

bool store_row(const float* x, std::size_t count, DType dtype, std::byte* out) {
  const FloatTag d;
  // The first magnitude that rounds to infinity: half a step above the largest half, 65504.
  const V overflow = hn::Set(d, 65520.0f), largest = hn::Set(d, std::numeric_limits<float>::max());
  auto lost = hn::Lt(overflow, overflow);
  with_element(dtype, [&](auto element) {
    using Element = decltype(element);
    for_each_vector(count, [&](std::size_t i, std::size_t part) {
      const V v = load_part(x + i, part);
      const V magnitude = hn::Abs(v);
      lost = hn::Or(lost, hn::And(hn::Ge(magnitude, overflow), hn::Le(magnitude, largest)));
      std::byte* at = out + i * Element::kBytes;
      if (part == kLanes) return Element::store(v, d, at);
      for (std::size_t j = 0; j < part; ++j) Element::store_one(x[i + j], at + j * Element::kBytes);
    });
  });
  return dtype != DType::f16 || hn::AllFalse(d, lost);
}

void add_scaled_row(float a, const float* x, float* y, std::size_t count) {
  const V scale = hn::Set(FloatTag(), a);
  for_each_vector(count, [&](std::size_t i, std::size_t part) {
    store_part(hn::MulAdd(scale, load_part(x + i, part), load_part(y + i, part)), y + i, part);
  });
}

void silu_multiply(Matrix<const float> gate, Matrix<const float> up, Matrix<float> out) {
  const FloatTag d;
  const V one = hn::Set(d, 1.0f), most = hn::Set(d, 88.0f);  // e^88 still fits f32
  for (std::size_t row = 0; row < gate.rows; ++row)
    for_each_vector(gate.cols, [&](std::size_t i, std::size_t count) {
      const V g = load_part(gate.row(row) + i, count);
      const V sigmoid = hn::Div(one, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(g), most))));
      const V u = load_part(up.row(row) + i, count);
      store_part(hn::Mul(hn::Mul(g, sigmoid), u), out.row(row) + i, count);
    });
}

HWY_INLINE float largest_in(const float* x, std::size_t count) {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  V largest = hn::Set(FloatTag(), kLowest);
  for_each_vector(count, [&](std::size_t i, std::size_t part) {
    largest = hn::Max(largest, load_part(x + i, part, kLowest));
  });
  return largest_of(largest);
}

/// x[i] = exp(x[i] - largest); returns their sum.
HWY_INLINE float exponentiate(float* x, std::size_t count, float largest) {
  const FloatTag d;
  const V top = hn::Set(d, largest);
  V sum = hn::Zero(d);
  for_each_vector(count, [&](std::size_t i, std::size_t part) {
    // Lanes beyond the row become exp(-infinity) = 0 and add nothing.
    const V v = load_part(x + i, part, -std::numeric_limits<float>::infinity());
    const V power = hn::Exp(d, hn::Sub(v, top));
    sum = hn::Add(sum, power);
    store_part(power, x + i, part);
  });
  return sum_of(sum);
}

HWY_INLINE void scale_row(float* x, std::size_t count, float factor) {
  const V scale = hn::Set(FloatTag(), factor);
  for_each_vector(count, [&](std::size_t i, std::size_t part) {
    store_part(hn::Mul(load_part(x + i, part), scale), x + i, part);
  });
}

void softmax_rows(Matrix<float> x) {
  for (std::size_t row = 0; row < x.rows; ++row) {
    float* scores = x.row(row);
    const float sum = exponentiate(scores, x.cols, largest_in(scores, x.cols));
    scale_row(scores, x.cols, 1 / sum);
  }
}

void online_softmax(const OnlineSoftmax& state, const Visible* visible, Matrix<float> scores) {
  for (std::size_t row = 0; row < scores.rows; ++row) {
    const std::size_t begin = visible[row].begin, end = visible[row].end;
    float* s = scores.row(row);
    if (begin >= end) {
      std::memset(s, 0, scores.cols * sizeof(float));
      continue;
    }
    std::memset(s, 0, begin * sizeof(float));
    std::memset(s + end, 0, (scores.cols - end) * sizeof(float));
    const float before = state.largest[row];
    const float largest = HWY_MAX(before, largest_in(s + begin, end - begin));
    if (largest > before) {
      const float shrink = std::exp(before - largest);
      state.sum[row] *= shrink;
      scale_row(state.o.row(row), state.o.cols, shrink);
      state.largest[row] = largest;
    }
    state.sum[row] += exponentiate(s + begin, end - begin, largest);
  }
}

/// cos and sin of position · inverse_frequency[i] for i < count.
HWY_INLINE void turn(float position, const float* inverse_frequency, std::size_t count,
                     float* HWY_RESTRICT cosine, float* HWY_RESTRICT sine) {
  const FloatTag d;
  constexpr float kVectorRange = 39000;  // beyond it Highway's reduction loses accuracy
  for_each_vector(count, [&](std::size_t i, std::size_t part) {
    const V angle = hn::Mul(hn::Set(d, position), load_part(inverse_frequency + i, part));
    if (largest_of(hn::Abs(angle)) < kVectorRange) {
      store_part(hn::Cos(d, angle), cosine + i, part);
      store_part(hn::Sin(d, angle), sine + i, part);
      return;
    }
    for (std::size_t j = i; j < i + part; ++j) {
      cosine[j] = std::cos(position * inverse_frequency[j]);
      sine[j] = std::sin(position * inverse_frequency[j]);
    }
  });
}

void rotate(Matrix<float> heads, std::size_t head_dim, const std::uint32_t* positions,
            const float* inverse_frequency) {
  constexpr std::size_t kChunk = 64;  // angles at a time: any head_dim without allocating
  const std::size_t half = head_dim / 2;
  float cosine[kChunk], sine[kChunk];
  for (std::size_t row = 0; row < heads.rows; ++row)
    for (std::size_t from = 0; from < half; from += kChunk) {
      const std::size_t angles = HWY_MIN(kChunk, half - from);
      turn(static_cast<float>(positions[row]), inverse_frequency + from, angles, cosine, sine);
      for (std::size_t first = from; first < heads.cols; first += head_dim) {
        float* low = heads.row(row) + first;
        float* high = low + half;
        for_each_vector(angles, [&](std::size_t i, std::size_t count) {
          const V a = load_part(low + i, count), b = load_part(high + i, count);
          const V c = load_part(cosine + i, count), s = load_part(sine + i, count);
          store_part(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), low + i, count);
          store_part(hn::MulAdd(a, s, hn::Mul(b, c)), high + i, count);
        });
      }
    }
}

const char* target_name() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace
}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "common/check.h"

namespace wdmoe::kernels {
namespace {
HWY_EXPORT(rms_norm);
HWY_EXPORT(load_row);
HWY_EXPORT(store_row);
HWY_EXPORT(add_scaled_row);
HWY_EXPORT(silu_multiply);
HWY_EXPORT(softmax_rows);
HWY_EXPORT(online_softmax);
HWY_EXPORT(rotate);
HWY_EXPORT(target_name);
}  // namespace

void rms_norm(Tensor weight, float epsilon, Matrix<const float> x, Matrix<float> y) {
  WDMOE_CHECK(weight.cols == x.cols && x.cols == y.cols && x.rows == y.rows);
  HWY_DYNAMIC_DISPATCH(rms_norm)(weight, epsilon, x, y);
}

void load_row(const std::byte* in, std::size_t count, DType dtype, float* out) {
  HWY_DYNAMIC_DISPATCH(load_row)(in, count, dtype, out);
}

bool store_row(const float* x, std::size_t count, DType dtype, std::byte* out) {
  return HWY_DYNAMIC_DISPATCH(store_row)(x, count, dtype, out);
}

void add_scaled_row(float a, const float* x, float* y, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(add_scaled_row)(a, x, y, count);
}

void silu_multiply(Matrix<const float> gate, Matrix<const float> up, Matrix<float> out) {
  HWY_DYNAMIC_DISPATCH(silu_multiply)(gate, up, out);
}

void online_softmax(const OnlineSoftmax& state, const Visible* visible, Matrix<float> scores) {
  HWY_DYNAMIC_DISPATCH(online_softmax)(state, visible, scores);
}

void softmax_rows(Matrix<float> x) {
  if (x.cols > 0) HWY_DYNAMIC_DISPATCH(softmax_rows)(x);
}

void rotate(Matrix<float> heads, std::size_t head_dim, Span<const std::uint32_t> positions,
            Span<const float> inverse_frequency) {
  WDMOE_CHECK(head_dim > 0 && head_dim % 2 == 0 && heads.cols % head_dim == 0);
  WDMOE_CHECK(positions.size() == heads.rows && inverse_frequency.size() == head_dim / 2);
  HWY_DYNAMIC_DISPATCH(rotate)(heads, head_dim, positions.data(), inverse_frequency.data());
}

void copy_row(Tensor table, std::size_t index, float* out) {
  WDMOE_CHECK(index < table.rows);
  load_row(table.row(index), table.cols, table.dtype, out);
}

void from_wire(Tensor rows, Matrix<float> out) {
  WDMOE_CHECK(rows.rows == out.rows && rows.cols == out.cols);
  for (std::size_t row = 0; row < rows.rows; ++row)
    load_row(rows.row(row), rows.cols, rows.dtype, out.row(row));
}

bool to_wire(Matrix<const float> rows, MutableTensor out) {
  WDMOE_CHECK(rows.rows == out.rows && rows.cols == out.cols);
  bool fits = true;
  for (std::size_t row = 0; row < rows.rows; ++row)
    if (!store_row(rows.row(row), rows.cols, out.dtype, out.row(row))) fits = false;
  return fits;
}

void add_scaled(float a, Matrix<const float> x, Matrix<float> y) {
  WDMOE_CHECK(x.rows == y.rows && x.cols == y.cols);
  for (std::size_t row = 0; row < x.rows; ++row) add_scaled_row(a, x.row(row), y.row(row), x.cols);
}

std::string instruction_set() {
  return std::string(HWY_DYNAMIC_DISPATCH(target_name)()) + (rounds_bf16_rows() ? "+bf16" : "");
}

}  // namespace wdmoe::kernels
#endif
