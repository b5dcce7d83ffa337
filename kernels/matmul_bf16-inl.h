// Products with bf16 weights as the processor's bf16 dot product wants them: x rounded to bf16 once
// per block of columns, pairs of inputs in one 32-bit lane, f32 sums.  `Dot` is that instruction
// (kernels/bf16_dot-inl.h); tests/kernels/matmul_bf16_test.cpp runs the same templates on every
// target with one made of ordinary operations.
//
// Error against exact products of unrounded x: at most 2^-8 |w·x| for each product (half a unit in
// the last place of bf16's 8 bits) beside f32 summation.
// Included once per target, hence the toggled guard.

#if defined(WDMOE_KERNELS_MATMUL_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WDMOE_KERNELS_MATMUL_BF16_INL_H_
#undef WDMOE_KERNELS_MATMUL_BF16_INL_H_
#else
#define WDMOE_KERNELS_MATMUL_BF16_INL_H_
#endif

#include "kernels/matmul-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {

/// Rounds `count` floats to bf16, pair by pair; an odd last one is paired with zero.
template <class Dot>
HWY_INLINE void round_row(const float* HWY_RESTRICT x, std::size_t count,
                          std::uint32_t* HWY_RESTRICT pairs) {
  const PairTag d;
  constexpr std::size_t kLanes = hn::MaxLanes(PairTag());
  std::size_t k = 0;
  for (; k + 2 * kLanes <= count; k += 2 * kLanes) hn::StoreU(Dot::round(x + k), d, pairs + k / 2);
  if (k == count) return;
  HWY_ALIGN float rest[2 * kLanes] = {};
  HWY_ALIGN std::uint32_t rounded[kLanes];
  std::memcpy(rest, x + k, (count - k) * sizeof(float));
  hn::Store(Dot::round(rest), d, rounded);
  std::memcpy(pairs + k / 2, rounded, (count - k + 1) / 2 * sizeof(std::uint32_t));
}

/// multiply_block() with bf16 weights and few rows: as many inputs at a time as fit the working
/// memory when rounded.
template <class Dot>
void matrix_vector_rounded(WeightRows weight, std::size_t columns, Matrix<const float> x,
                           std::uint32_t* HWY_RESTRICT pairs, float* HWY_RESTRICT c) {
  using Product = Paired<Dot>;
  constexpr std::size_t kLine = kLineBytes / sizeof(std::uint32_t);
  const std::size_t stride = kPanelFloats / HWY_MAX(x.rows, std::size_t{1}) / kLine * kLine;
  for (std::size_t from = 0; from == 0 || from < weight.in; from += 2 * stride) {
    const std::size_t deep = HWY_MIN(2 * stride, weight.in - from);
    for (std::size_t row = 0; row < x.rows; ++row)
      round_row<Dot>(x.row(row) + from, deep, pairs + row * stride);
    const std::byte* data = weight.data + from * 2;
    matrix_vector<Product>({data, weight.row_bytes, deep / 2}, columns,
                           {pairs, x.rows, deep / 2, stride}, c, from != 0);
    if (deep % 2 == 0) continue;
    for (std::size_t row = 0; row < x.rows; ++row)  // no pair is read beyond a weight row
      for (std::size_t j = 0; j < columns; ++j)
        c[row * kBlockColumns + j] +=
            Product::product(BF16::load_bits(data + j * weight.row_bytes + (deep - 1) * 2),
                             pairs[row * stride + deep / 2]);
  }
}

/// Weight rows of `deep` bf16 as panels [pairs][width], a panel of columns after the other.
template <class Product>
HWY_INLINE void pack_pairs(WeightRows weight, std::size_t columns, std::size_t deep,
                           std::size_t width, std::uint32_t* HWY_RESTRICT panels) {
  const std::size_t pairs = (deep + 1) / 2;
  for (std::size_t first = 0; first < columns; first += width) {
    const std::byte* rows = weight.data + first * weight.row_bytes;
    const std::size_t count = HWY_MIN(width, columns - first);
    std::uint32_t* panel = panels + first * pairs;
    pack_panel<Product>(rows, weight.row_bytes, count, deep / 2, width, panel);
    if (deep % 2 == 0) continue;
    std::uint32_t* last = panel + (pairs - 1) * width;
    std::memset(last, 0, width * sizeof(std::uint32_t));
    for (std::size_t j = 0; j < count; ++j)
      last[j] = BF16::load_bits(rows + j * weight.row_bytes + (deep - 1) * 2);
  }
}

/// multiply_block() with bf16 weights and many rows: half of the working memory holds the block's
/// columns, half a few tiles of rounded rows, so that all of it stays in L1.
template <class Dot>
void matrix_matrix_rounded(WeightRows weight, std::size_t columns, Matrix<const float> x,
                           std::uint32_t* HWY_RESTRICT panels, float* HWY_RESTRICT c,
                           const std::byte* next_block) {
  using Product = Paired<Dot>;
  constexpr std::size_t kHalf = kPanelFloats / 2, kPairs = kPanelDepth / 2;
  static_assert(kBlockColumns * kPairs <= kHalf && kTileRows * kPairs <= kHalf);
  constexpr std::size_t kRows = kHalf / kPairs / kTileRows * kTileRows;
  const std::size_t width = 2 * hn::Lanes(FloatTag()), depth = slice_depth(weight.in);
  std::uint32_t* rounded = panels + kHalf;
  for (std::size_t from = 0; from < weight.in; from += depth) {
    const std::size_t deep = HWY_MIN(depth, weight.in - from), pairs = (deep + 1) / 2;
    pack_pairs<Product>({weight.data + from * 2, weight.row_bytes, deep}, columns, deep, width,
                        panels);
    const bool ends = from + deep == weight.in;
    const std::byte* next = ends ? next_block : weight.data + (from + deep) * 2;
    const std::size_t next_deep = HWY_MIN(depth, ends ? weight.in : weight.in - from - deep);
    for (std::size_t row = 0; row < x.rows; row += kRows) {
      const std::size_t rows = HWY_MIN(kRows, x.rows - row);
      for (std::size_t r = 0; r < rows; ++r)
        round_row<Dot>(x.row(row + r) + from, deep, rounded + r * pairs);
      // These rows' share of the weights that come next.
      const std::size_t first = columns * row / x.rows, end = columns * (row + rows) / x.rows;
      Ahead ahead;
      if (next != nullptr)
        ahead = {next + first * weight.row_bytes, weight.row_bytes, end - first, next_deep * 2};
      for (std::size_t j = 0; j < columns; j += width)
        multiply_rows<Product>(rows,
                               {rounded, pairs, panels + j * pairs, width, pairs,
                                c + row * kBlockColumns + j, kBlockColumns, from != 0},
                               j == 0 ? ahead : Ahead{});
    }
  }
}

/// multiply_block() with bf16 weights and x rounded to bf16, f32 sums.
template <class Dot>
void multiply_rounded(WeightRows weight, std::size_t columns, Matrix<const float> x, float* panel,
                      float* c, const std::byte* next = nullptr) {
  auto* pairs = reinterpret_cast<std::uint32_t*>(panel);  // the same memory, never as both at once
  if (x.rows <= kMatVecRows || weight.in == 0) {
    matrix_vector_rounded<Dot>(weight, columns, x, pairs, c);
  } else {
    matrix_matrix_rounded<Dot>(weight, columns, x, pairs, c, next);
  }
}

}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
