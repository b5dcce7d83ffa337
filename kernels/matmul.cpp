// Matrix products of f32 rows with f32/f16/bf16 weights used in place, f32 accumulation.
//
// Few rows (decode): 4 weight rows at a time against 1 to 4 rows of x, converted as they are
// loaded.  A stream from memory; judged in GB/s against the machine's read bandwidth.
// Many rows (prefill): 16 weight rows (two vectors) by kPanelDepth inputs are converted and
// transposed once into a panel [depth][16] that stays in L1; a register tile of 6 rows x 2 vectors
// (12 rows with 32 registers) then walks all rows of x.  Judged in GFLOP/s against the FMA peak.
//
// Bench alone: tests/bench/kernels_bench --benchmark_filter='matvec|linear'

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/foreach_target.h>
// foreach_target must come first
#include "kernels/matmul.h"
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4
constexpr std::size_t kTileRows = 6;  // 12 sums, 2 columns, 1 row: 15 of 16 registers
#elif HWY_TARGET == HWY_SCALAR
constexpr std::size_t kTileRows = 2;
#else
constexpr std::size_t kTileRows = 12;  // 24 sums, 2 columns, 1 row: 27 of 32 registers
#endif

// Up to here converting weights for every 4 rows costs less than packing them (measured on Zen 3).
constexpr std::size_t kMatVecRows = 7;

/// Bytes ahead of the loads at which weights are asked for; hardware prefetchers stop at each
/// 4 KiB page, which for mapped files is every two or three rows.
constexpr std::size_t kPrefetchBytes = 2048;
constexpr std::size_t kLineBytes = 64;

struct WeightRows {
  const std::byte* data;
  std::size_t row_bytes, in;
};

/// c[i] = weight row · x row i, for one weight row and kX rows of x, a cache line at a time.
template <class Element, std::size_t kX>
HWY_INLINE void dot_row(const std::byte* HWY_RESTRICT weight, std::size_t in,
                        const float* HWY_RESTRICT x, std::size_t x_stride, float* HWY_RESTRICT c) {
  const FloatTag d;
  using V = hn::Vec<FloatTag>;
  constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
  constexpr std::size_t kLine = HWY_MAX(kLineBytes / Element::kBytes, kLanes);  // elements
  constexpr std::size_t kSums = HWY_MIN(kLine / kLanes, kX == 1 ? 4 : 2);
  V sums[kX][kSums];
  for (std::size_t i = 0; i < kX; ++i)
    for (std::size_t s = 0; s < kSums; ++s) sums[i][s] = hn::Zero(d);
  std::size_t k = 0;
  for (; k + kLine <= in; k += kLine) {
    const std::byte* line = weight + k * Element::kBytes;
    hwy::Prefetch(line + kPrefetchBytes);
    for (std::size_t part = 0; part < kLine / kLanes; ++part) {
      const V w = Element::load(d, line + part * kLanes * Element::kBytes);
      for (std::size_t i = 0; i < kX; ++i) {
        V& sum = sums[i][part % kSums];
        sum = hn::MulAdd(w, hn::LoadU(d, x + i * x_stride + k + part * kLanes), sum);
      }
    }
  }
  for (; k + kLanes <= in; k += kLanes) {
    const V w = Element::load(d, weight + k * Element::kBytes);
    for (std::size_t i = 0; i < kX; ++i)
      sums[i][0] = hn::MulAdd(w, hn::LoadU(d, x + i * x_stride + k), sums[i][0]);
  }
  for (std::size_t i = 0; i < kX; ++i) {
    for (std::size_t s = 1; s < kSums; ++s) sums[i][0] = hn::Add(sums[i][0], sums[i][s]);
    float sum = hn::GetLane(hn::SumOfLanes(d, sums[i][0]));
    for (std::size_t rest = k; rest < in; ++rest)
      sum += Element::load_one(weight + rest * Element::kBytes) * x[i * x_stride + rest];
    c[i * kBlockColumns] = sum;
  }
}

template <class Element>
void matrix_vector(WeightRows weight, std::size_t columns, Matrix<const float> x, float* c) {
  for (std::size_t j = 0; j < columns; ++j) {
    const std::byte* w = weight.data + j * weight.row_bytes;
    std::size_t row = 0;
    for (std::size_t groups = (x.rows + 3) / 4; groups > 0; --groups) {
      const std::size_t rows = (x.rows - row + groups - 1) / groups;  // evenly: 5 = 3 + 2
      float* cj = c + row * kBlockColumns + j;
      switch (rows) {
        case 1:
          dot_row<Element, 1>(w, weight.in, x.row(row), x.stride, cj);
          break;
        case 2:
          dot_row<Element, 2>(w, weight.in, x.row(row), x.stride, cj);
          break;
        case 3:
          dot_row<Element, 3>(w, weight.in, x.row(row), x.stride, cj);
          break;
        default:
          dot_row<Element, 4>(w, weight.in, x.row(row), x.stride, cj);
          break;
      }
      row += rows;
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
/// 4 weight rows at `at`, a vector of inputs each, transposed 4x4 within each 128-bit block:
/// quads[i] holds inputs i, i + 4, … of all four rows.
template <class Element>
HWY_INLINE void load_quads(const std::byte* at, std::size_t row_bytes,
                           hn::Vec<FloatTag> (&quads)[4]) {
  const FloatTag d;
  const hn::Repartition<std::uint64_t, FloatTag> d64;
  const auto r0 = Element::load(d, at), r1 = Element::load(d, at + row_bytes);
  const auto r2 = Element::load(d, at + 2 * row_bytes);
  const auto r3 = Element::load(d, at + 3 * row_bytes);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
  quads[0] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
  quads[1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
  quads[2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
  quads[3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
}
#endif

/// Writes kRows (4, or 8 = the vector's lanes) weight rows as columns of panel [depth][width].
template <class Element, std::size_t kRows>
HWY_INLINE void pack_rows(const std::byte* rows, std::size_t row_bytes, std::size_t depth,
                          std::size_t width, float* HWY_RESTRICT panel) {
  std::size_t k = 0;
#if HWY_TARGET != HWY_SCALAR
  const FloatTag d;
  constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
  static_assert(kRows == 4 || kRows == kLanes);
  for (; k + kLanes <= depth; k += kLanes) {
    const std::byte* at = rows + k * Element::kBytes;
    hn::Vec<FloatTag> low[4];
    load_quads<Element>(at, row_bytes, low);
    if constexpr (kRows == 8) {
      hn::Vec<FloatTag> high[4];
      load_quads<Element>(at + 4 * row_bytes, row_bytes, high);
      for (std::size_t i = 0; i < 4; ++i) {
        hn::StoreU(hn::ConcatLowerLower(d, high[i], low[i]), d, panel + (k + i) * width);
        hn::StoreU(hn::ConcatUpperUpper(d, high[i], low[i]), d, panel + (k + 4 + i) * width);
      }
    } else {
      HWY_ALIGN float quads[4 * kLanes];
      for (std::size_t i = 0; i < 4; ++i) hn::Store(low[i], d, quads + i * kLanes);
      for (std::size_t block = 0; block < kLanes / 4; ++block)
        for (std::size_t i = 0; i < 4; ++i)
          std::memcpy(panel + (k + 4 * block + i) * width, quads + i * kLanes + 4 * block,
                      4 * sizeof(float));
    }
  }
#endif
  for (; k < depth; ++k)
    for (std::size_t r = 0; r < kRows; ++r)
      panel[k * width + r] = Element::load_one(rows + r * row_bytes + k * Element::kBytes);
}

/// Writes `columns` weight rows as panel [depth][width], zeros beyond them.
template <class Element>
HWY_INLINE void pack_panel(const std::byte* rows, std::size_t row_bytes, std::size_t columns,
                           std::size_t depth, std::size_t width, float* HWY_RESTRICT panel) {
  if (columns < width) std::memset(panel, 0, depth * width * sizeof(float));
  std::size_t j = 0;
  if constexpr (hn::MaxLanes(FloatTag()) == 8)
    for (; j + 8 <= columns; j += 8)
      pack_rows<Element, 8>(rows + j * row_bytes, row_bytes, depth, width, panel + j);
  for (; j + 4 <= columns; j += 4)
    pack_rows<Element, 4>(rows + j * row_bytes, row_bytes, depth, width, panel + j);
  for (; j < columns; ++j)
    for (std::size_t k = 0; k < depth; ++k)
      panel[k * width + j] = Element::load_one(rows + j * row_bytes + k * Element::kBytes);
}

struct Tile {
  const float* x;
  std::size_t x_stride;
  const float* b;  ///< [depth][two vectors], rows b_stride apart
  std::size_t b_stride, depth;
  float* c;
  std::size_t c_stride;
  bool add;  ///< c += instead of c =
};

/// kRows rows of x times two vectors of columns, in registers.
template <std::size_t kRows>
void multiply_tile(const Tile& tile) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  using V = hn::Vec<FloatTag>;
  V left[kRows], right[kRows];
  for (std::size_t r = 0; r < kRows; ++r) {
    const float* c = tile.c + r * tile.c_stride;
    left[r] = tile.add ? hn::LoadU(d, c) : hn::Zero(d);
    right[r] = tile.add ? hn::LoadU(d, c + lanes) : hn::Zero(d);
  }
  const float* HWY_RESTRICT x = tile.x;
  const float* HWY_RESTRICT b = tile.b;
  const std::size_t x_stride = tile.x_stride, b_stride = tile.b_stride;
  for (std::size_t k = 0; k < tile.depth; ++k, b += b_stride) {
    const V b0 = hn::LoadU(d, b), b1 = hn::LoadU(d, b + lanes);
    for (std::size_t r = 0; r < kRows; ++r) {
      const V xr = hn::Set(d, x[r * x_stride + k]);
      left[r] = hn::MulAdd(xr, b0, left[r]);
      right[r] = hn::MulAdd(xr, b1, right[r]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    float* c = tile.c + r * tile.c_stride;
    hn::StoreU(left[r], d, c);
    hn::StoreU(right[r], d, c + lanes);
  }
}

template <std::size_t kRows = kTileRows>
HWY_INLINE void multiply_tile_of(std::size_t rows, const Tile& tile) {
  if (rows == kRows) return multiply_tile<kRows>(tile);
  if constexpr (kRows > 1) multiply_tile_of<kRows - 1>(rows, tile);
}

/// The weights of the panel after this one, asked for while this one is multiplied: a panel is a
/// few hundred bytes of each of its rows, too short a stream for the hardware to run ahead on.
class Ahead {
 public:
  Ahead() = default;
  Ahead(const std::byte* rows, std::size_t row_bytes, std::size_t columns, std::size_t bytes)
      : row_(rows), row_bytes_(row_bytes), rows_(columns), bytes_(bytes) {}

  std::size_t lines() const { return rows_ * ((bytes_ + kLineBytes - 1) / kLineBytes); }
  HWY_INLINE void ask(std::size_t lines) {
    for (; lines > 0 && rows_ > 0; --lines) {
      __builtin_prefetch(row_ + at_, 0, 2);
      at_ += kLineBytes;
      if (at_ < bytes_) continue;
      at_ = 0;
      row_ += row_bytes_;
      --rows_;
    }
  }

 private:
  const std::byte* row_ = nullptr;
  std::size_t row_bytes_ = 0, rows_ = 0, bytes_ = 0, at_ = 0;
};

/// Walks `rows` rows of x and c in tiles of nearly equal height.
HWY_INLINE void multiply_rows(std::size_t rows, Tile tile, Ahead ahead = {}) {
  const std::size_t all = (rows + kTileRows - 1) / kTileRows;
  const std::size_t lines = ahead.lines() / HWY_MAX(all, 1) + 1;
  for (std::size_t tiles = all; tiles > 0; --tiles) {
    const std::size_t height = (rows + tiles - 1) / tiles;
    ahead.ask(lines);
    multiply_tile_of(height, tile);
    tile.x += height * tile.x_stride;
    tile.c += height * tile.c_stride;
    rows -= height;
  }
}

template <class Element>
void matrix_matrix(WeightRows weight, std::size_t columns, Matrix<const float> x,
                   float* HWY_RESTRICT panel, float* HWY_RESTRICT c, const std::byte* next_block) {
  const std::size_t width = 2 * hn::Lanes(FloatTag());
  const std::size_t slices = (weight.in + kPanelDepth - 1) / kPanelDepth;
  const std::size_t depth = ((weight.in + slices - 1) / slices + 15) / 16 * 16;
  for (std::size_t from = 0; from < weight.in; from += depth) {
    const std::size_t deep = HWY_MIN(depth, weight.in - from);
    for (std::size_t j = 0; j < columns; j += width) {
      pack_panel<Element>(weight.data + j * weight.row_bytes + from * Element::kBytes,
                          weight.row_bytes, HWY_MIN(width, columns - j), deep, width, panel);
      const bool last = j + width >= columns;  // of this slice
      const std::size_t next = last ? 0 : j + width, next_from = last ? from + deep : from;
      const bool ends = next_from >= weight.in;
      const std::size_t next_deep = HWY_MIN(depth, ends ? weight.in : weight.in - next_from);
      const std::byte* next_rows =
          ends ? next_block : weight.data + next * weight.row_bytes + next_from * Element::kBytes;
      multiply_rows(
          x.rows, {x.data + from, x.stride, panel, width, deep, c + j, kBlockColumns, from != 0},
          {next_rows, weight.row_bytes, next_rows == nullptr ? 0 : HWY_MIN(width, columns - next),
           next_deep * Element::kBytes});
    }
  }
}

void multiply_block(Tensor weight, std::size_t first, std::size_t columns, Matrix<const float> x,
                    float* panel, float* c, const std::byte* next) {
  const WeightRows rows{weight.row(first), weight.cols * bytes_of(weight.dtype), weight.cols};
  with_element(weight.dtype, [&](auto element) {
    using Element = decltype(element);
    if (x.rows <= kMatVecRows || weight.cols == 0) {
      matrix_vector<Element>(rows, columns, x, c);
    } else {
      matrix_matrix<Element>(rows, columns, x, panel, c, next);
    }
  });
}

void accumulate(Matrix<const float> p, Matrix<const float> v, float* panel, Matrix<float> o) {
  const std::size_t width = 2 * hn::Lanes(FloatTag());
  std::size_t col = 0;
  for (; col + width <= v.cols; col += width)
    multiply_rows(p.rows,
                  {p.data, p.stride, v.data + col, v.stride, p.cols, o.data + col, o.stride, true});
  if (col == v.cols) return;
  std::memset(panel, 0, p.cols * width * sizeof(float));
  for (std::size_t t = 0; t < p.cols; ++t)
    std::memcpy(panel + t * width, v.row(t) + col, (v.cols - col) * sizeof(float));
  multiply_rows(p.rows, {p.data, p.stride, panel, width, p.cols, o.data + col, o.stride, true});
}

}  // namespace
}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdmoe::kernels {
namespace {
HWY_EXPORT(multiply_block);
HWY_EXPORT(accumulate);
}  // namespace

void multiply_block(Tensor weight, std::size_t first, std::size_t columns, Matrix<const float> x,
                    float* panel, float* c, const std::byte* next) {
  HWY_DYNAMIC_DISPATCH(multiply_block)(weight, first, columns, x, panel, c, next);
}

void accumulate(Matrix<const float> p, Matrix<const float> v, float* panel, Matrix<float> o) {
  HWY_DYNAMIC_DISPATCH(accumulate)(p, v, panel, o);
}

}  // namespace wdmoe::kernels
#endif
