// Matrix products of f32 rows with f32/f16/bf16 weights used in place, f32 accumulation.
// kernels/matmul-inl.h holds the loops.  Weights are widened to f32 as they are loaded or packed,
// but for bf16 weights on processors with a bf16 dot product (kernels/matmul_bf16-inl.h).
//
// Bench alone: tests/bench/kernels_bench --benchmark_filter='matvec|linear'

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul.cpp"
#include "kernels/targets.h"
// targets.h must come before Highway, foreach_target before the rest
#include <hwy/foreach_target.h>
// foreach_target re-includes this file for each target
#include "kernels/bf16_dot-inl.h"
#include "kernels/matmul-inl.h"
#include "kernels/matmul_bf16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {
namespace {

template <class Element>
void matrix_matrix(WeightRows weight, std::size_t columns, Matrix<const float> x,
                   float* HWY_RESTRICT panel, float* HWY_RESTRICT c, const std::byte* next_block) {
  using Product = Widened<Element>;
  const std::size_t width = 2 * hn::Lanes(FloatTag()), depth = slice_depth(weight.in);
  for (std::size_t from = 0; from < weight.in; from += depth) {
    const std::size_t deep = HWY_MIN(depth, weight.in - from);
    for (std::size_t j = 0; j < columns; j += width) {
      pack_panel<Product>(weight.data + j * weight.row_bytes + from * Element::kBytes,
                          weight.row_bytes, HWY_MIN(width, columns - j), deep, width, panel);
      const bool last = j + width >= columns;  // of this slice
      const std::size_t next = last ? 0 : j + width, next_from = last ? from + deep : from;
      const bool ends = next_from >= weight.in;
      const std::size_t next_deep = HWY_MIN(depth, ends ? weight.in : weight.in - next_from);
      const std::byte* next_rows =
          ends ? next_block : weight.data + next * weight.row_bytes + next_from * Element::kBytes;
      multiply_rows<Singles>(
          x.rows, {x.data + from, x.stride, panel, width, deep, c + j, kBlockColumns, from != 0},
          {next_rows, weight.row_bytes, next_rows == nullptr ? 0 : HWY_MIN(width, columns - next),
           next_deep * Element::kBytes});
    }
  }
}

/// multiply_block() with weights widened to f32: exact products, f32 sums.
template <class Element>
void multiply_widened(WeightRows weight, std::size_t columns, Matrix<const float> x, float* panel,
                      float* c, const std::byte* next) {
  if (x.rows > kMatVecRows && weight.in > 0)
    return matrix_matrix<Element>(weight, columns, x, panel, c, next);
  matrix_vector<Widened<Element>>(weight, columns, x, c);
}

bool rounds_bf16_rows() {
#if WDMOE_NATIVE_BF16_DOT
  return NativeDot::available();
#else
  return false;
#endif
}

void multiply_block(Tensor weight, Matrix<const float> x, float* panel, float* c,
                    const std::byte* next) {
  const WeightRows rows{weight.data, weight.cols * bytes_of(weight.dtype), weight.cols};
#if WDMOE_NATIVE_BF16_DOT
  if (weight.dtype == DType::bf16 && NativeDot::available())
    return multiply_rounded<NativeDot>(rows, weight.rows, x, panel, c, next);
#endif
  with_element(weight.dtype, [&](auto element) {
    multiply_widened<decltype(element)>(rows, weight.rows, x, panel, c, next);
  });
}

void accumulate(Matrix<const float> p, Matrix<const float> v, float* panel, Matrix<float> o) {
  const std::size_t width = 2 * hn::Lanes(FloatTag());
  std::size_t col = 0;
  for (; col + width <= v.cols; col += width)
    multiply_rows<Singles>(
        p.rows, {p.data, p.stride, v.data + col, v.stride, p.cols, o.data + col, o.stride, true});
  if (col == v.cols) return;
  std::memset(panel, 0, p.cols * width * sizeof(float));
  for (std::size_t t = 0; t < p.cols; ++t)
    std::memcpy(panel + t * width, v.row(t) + col, (v.cols - col) * sizeof(float));
  multiply_rows<Singles>(p.rows,
                         {p.data, p.stride, panel, width, p.cols, o.data + col, o.stride, true});
}

}  // namespace
}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdmoe::kernels {
namespace {
HWY_EXPORT(multiply_block);
HWY_EXPORT(accumulate);
HWY_EXPORT(rounds_bf16_rows);
}  // namespace

void multiply_block(Tensor weight, Matrix<const float> x, float* panel, float* c,
                    const std::byte* next) {
  HWY_DYNAMIC_DISPATCH(multiply_block)(weight, x, panel, c, next);
}

void accumulate(Matrix<const float> p, Matrix<const float> v, float* panel, Matrix<float> o) {
  HWY_DYNAMIC_DISPATCH(accumulate)(p, v, panel, o);
}

bool rounds_bf16_rows() {
  return HWY_DYNAMIC_DISPATCH(rounds_bf16_rows)();
}

}  // namespace wdmoe::kernels
#endif
