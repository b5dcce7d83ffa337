// The loops of a matrix product, for any kind of product: what a lane of weights is and how lanes
// are multiplied is in Singles and Widened (f32 products) and Paired (two bf16 products a lane).
//
// Few rows (decode): a weight row at a time against 1 to 4 rows of x.  A stream from memory; judged
// in GB/s against the machine's read bandwidth.
// Many rows (prefill): weight rows (two vectors of them) by kPanelDepth inputs are transposed once
// into a panel [depth][width] that stays in L1; a register tile of 6 rows x 2 vectors (12 rows with
// 32 registers) then walks all rows of x.  Judged in GFLOP/s against the multiply-add peak.
// Included once per target, hence the toggled guard.

#if defined(WDMOE_KERNELS_MATMUL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WDMOE_KERNELS_MATMUL_INL_H_
#undef WDMOE_KERNELS_MATMUL_INL_H_
#else
#define WDMOE_KERNELS_MATMUL_INL_H_
#endif

#include "kernels/matmul.h"
#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wdmoe::kernels::HWY_NAMESPACE {

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
  std::size_t row_bytes, in;  ///< in: lanes of a row
};

/// One f32 product a lane.
struct Singles {
  using Lane = float;
  using Tag = FloatTag;
  static HWY_INLINE Floats add(Floats w, Floats x, Floats sum) { return hn::MulAdd(w, x, sum); }
  static HWY_INLINE float product(float w, float x) { return w * x; }
};

/// Weights widened to f32 as they are loaded.
template <class Element>
struct Widened : Singles {
  static constexpr std::size_t kBytes = Element::kBytes;  ///< of a lane in memory
  static HWY_INLINE Floats load(const std::byte* at) { return Element::load(Tag(), at); }
  static HWY_INLINE float load_one(const std::byte* at) { return Element::load_one(at); }
};

/// bf16 weights as they are, two products a lane; x was rounded to bf16.
template <class Dot>
struct Paired {
  using Lane = std::uint32_t;
  using Tag = PairTag;
  static constexpr std::size_t kBytes = 4;
  static HWY_INLINE Pairs load(const std::byte* at) { return load_bytes(Tag(), at); }
  static HWY_INLINE std::uint32_t load_one(const std::byte* at) {
    std::uint32_t pair;
    std::memcpy(&pair, at, sizeof pair);
    return pair;
  }
  static HWY_INLINE Floats add(Pairs w, Pairs x, Floats sum) { return Dot::add(w, x, sum); }
  static HWY_INLINE float product(std::uint32_t w, std::uint32_t x) {
    const auto low = [](std::uint32_t pair) { return static_cast<std::uint16_t>(pair); };
    return float_from_bf16(low(w)) * float_from_bf16(low(x)) +
           float_from_bf16(low(w >> 16)) * float_from_bf16(low(x >> 16));
  }
};

/// c[i] = weight row · x row i (c[i] += if `add`), for one weight row and kX rows of x, whole cache
/// lines at a time.
template <class Product, std::size_t kX, class Lane = typename Product::Lane>
HWY_INLINE void dot_row(const std::byte* HWY_RESTRICT weight, std::size_t in,
                        const Lane* HWY_RESTRICT x, std::size_t x_stride, float* HWY_RESTRICT c,
                        bool add) {
  const FloatTag d;
  const typename Product::Tag dx;
  constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
  constexpr std::size_t kSums = kX == 1 ? 4 : 2;
  constexpr std::size_t kLine = kLineBytes / Product::kBytes;  // lanes
  constexpr std::size_t kStep = HWY_MAX(kLine, kSums * kLanes);
  Floats sums[kX][kSums];
  for (std::size_t i = 0; i < kX; ++i)
    for (std::size_t s = 0; s < kSums; ++s) sums[i][s] = hn::Zero(d);
  std::size_t k = 0;
  for (; k + kStep <= in; k += kStep) {
    const std::byte* at = weight + k * Product::kBytes;
    for (std::size_t line = 0; line < kStep; line += kLine)
      hwy::Prefetch(at + line * Product::kBytes + kPrefetchBytes);
    for (std::size_t part = 0; part < kStep / kLanes; ++part) {
      const auto w = Product::load(at + part * kLanes * Product::kBytes);
      for (std::size_t i = 0; i < kX; ++i) {
        Floats& sum = sums[i][part % kSums];
        sum = Product::add(w, hn::LoadU(dx, x + i * x_stride + k + part * kLanes), sum);
      }
    }
  }
  for (; k + kLanes <= in; k += kLanes) {
    const auto w = Product::load(weight + k * Product::kBytes);
    for (std::size_t i = 0; i < kX; ++i)
      sums[i][0] = Product::add(w, hn::LoadU(dx, x + i * x_stride + k), sums[i][0]);
  }
  for (std::size_t i = 0; i < kX; ++i) {
    for (std::size_t s = 1; s < kSums; ++s) sums[i][0] = hn::Add(sums[i][0], sums[i][s]);
    float sum = hn::GetLane(hn::SumOfLanes(d, sums[i][0]));
    for (std::size_t rest = k; rest < in; ++rest)
      sum += Product::product(Product::load_one(weight + rest * Product::kBytes),
                              x[i * x_stride + rest]);
    c[i * kBlockColumns] = add ? c[i * kBlockColumns] + sum : sum;
  }
}

/// Few rows of x; c += instead of c = if `add`.
template <class Product, class Lane = typename Product::Lane>
void matrix_vector(WeightRows weight, std::size_t columns, Matrix<const Lane> x, float* c,
                   bool add = false) {
  for (std::size_t j = 0; j < columns; ++j) {
    const std::byte* w = weight.data + j * weight.row_bytes;
    std::size_t row = 0;
    for (std::size_t groups = (x.rows + 3) / 4; groups > 0; --groups) {
      const std::size_t rows = (x.rows - row + groups - 1) / groups;  // evenly: 5 = 3 + 2
      float* cj = c + row * kBlockColumns + j;
      switch (rows) {
        case 1:
          dot_row<Product, 1>(w, weight.in, x.row(row), x.stride, cj, add);
          break;
        case 2:
          dot_row<Product, 2>(w, weight.in, x.row(row), x.stride, cj, add);
          break;
        case 3:
          dot_row<Product, 3>(w, weight.in, x.row(row), x.stride, cj, add);
          break;
        default:
          dot_row<Product, 4>(w, weight.in, x.row(row), x.stride, cj, add);
          break;
      }
      row += rows;
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
/// 4 weight rows at `at`, a vector of inputs each, transposed 4x4 within each 128-bit block:
/// quads[i] holds inputs i, i + 4, … of all four rows.
template <class Product, class V = hn::Vec<typename Product::Tag>>
HWY_INLINE void load_quads(const std::byte* at, std::size_t row_bytes, V (&quads)[4]) {
  const typename Product::Tag d;
  const hn::Repartition<std::uint64_t, FloatTag> d64;
  const auto r0 = Product::load(at), r1 = Product::load(at + row_bytes);
  const auto r2 = Product::load(at + 2 * row_bytes);
  const auto r3 = Product::load(at + 3 * row_bytes);
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
template <class Product, std::size_t kRows, class Lane = typename Product::Lane>
HWY_INLINE void pack_rows(const std::byte* rows, std::size_t row_bytes, std::size_t depth,
                          std::size_t width, Lane* HWY_RESTRICT panel) {
  std::size_t k = 0;
#if HWY_TARGET != HWY_SCALAR
  const typename Product::Tag d;
  constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());
  static_assert(kRows == 4 || kRows == kLanes);
  for (; k + kLanes <= depth; k += kLanes) {
    const std::byte* at = rows + k * Product::kBytes;
    hn::Vec<typename Product::Tag> low[4];
    load_quads<Product>(at, row_bytes, low);
    if constexpr (kRows == 8) {
      hn::Vec<typename Product::Tag> high[4];
      load_quads<Product>(at + 4 * row_bytes, row_bytes, high);
      for (std::size_t i = 0; i < 4; ++i) {
        hn::StoreU(hn::ConcatLowerLower(d, high[i], low[i]), d, panel + (k + i) * width);
        hn::StoreU(hn::ConcatUpperUpper(d, high[i], low[i]), d, panel + (k + 4 + i) * width);
      }
    } else {
      HWY_ALIGN Lane quads[4 * kLanes];
      for (std::size_t i = 0; i < 4; ++i) hn::Store(low[i], d, quads + i * kLanes);
      for (std::size_t block = 0; block < kLanes / 4; ++block)
        for (std::size_t i = 0; i < 4; ++i)
          std::memcpy(panel + (k + 4 * block + i) * width, quads + i * kLanes + 4 * block,
                      4 * sizeof(Lane));
    }
  }
#endif
  for (; k < depth; ++k)
    for (std::size_t r = 0; r < kRows; ++r)
      panel[k * width + r] = Product::load_one(rows + r * row_bytes + k * Product::kBytes);
}

/// Writes `columns` weight rows as panel [depth][width], zeros beyond them.
template <class Product, class Lane = typename Product::Lane>
HWY_INLINE void pack_panel(const std::byte* rows, std::size_t row_bytes, std::size_t columns,
                           std::size_t depth, std::size_t width, Lane* HWY_RESTRICT panel) {
  if (columns < width) std::memset(panel, 0, depth * width * sizeof(Lane));
  std::size_t j = 0;
  if constexpr (hn::MaxLanes(FloatTag()) == 8)
    for (; j + 8 <= columns; j += 8)
      pack_rows<Product, 8>(rows + j * row_bytes, row_bytes, depth, width, panel + j);
  for (; j + 4 <= columns; j += 4)
    pack_rows<Product, 4>(rows + j * row_bytes, row_bytes, depth, width, panel + j);
  for (; j < columns; ++j)
    for (std::size_t k = 0; k < depth; ++k)
      panel[k * width + j] = Product::load_one(rows + j * row_bytes + k * Product::kBytes);
}

template <class Lane>
struct Tile {
  const Lane* x;
  std::size_t x_stride;
  const Lane* b;  ///< [depth][two vectors], rows b_stride apart
  std::size_t b_stride, depth;
  float* c;
  std::size_t c_stride;
  bool add;  ///< c += instead of c =
};

/// kRows rows of x times two vectors of columns, in registers.
template <class Product, std::size_t kRows, class Lane = typename Product::Lane>
void multiply_tile(const Tile<Lane>& tile) {
  const FloatTag d;
  const typename Product::Tag dx;
  const std::size_t lanes = hn::Lanes(d);
  Floats left[kRows], right[kRows];
  for (std::size_t r = 0; r < kRows; ++r) {
    const float* c = tile.c + r * tile.c_stride;
    left[r] = tile.add ? hn::LoadU(d, c) : hn::Zero(d);
    right[r] = tile.add ? hn::LoadU(d, c + lanes) : hn::Zero(d);
  }
  const Lane* HWY_RESTRICT x = tile.x;
  const Lane* HWY_RESTRICT b = tile.b;
  const std::size_t x_stride = tile.x_stride, b_stride = tile.b_stride;
  for (std::size_t k = 0; k < tile.depth; ++k, b += b_stride) {
    const auto b0 = hn::LoadU(dx, b), b1 = hn::LoadU(dx, b + lanes);
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto xr = hn::Set(dx, x[r * x_stride + k]);
      left[r] = Product::add(xr, b0, left[r]);
      right[r] = Product::add(xr, b1, right[r]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    float* c = tile.c + r * tile.c_stride;
    hn::StoreU(left[r], d, c);
    hn::StoreU(right[r], d, c + lanes);
  }
}

template <class Product, std::size_t kRows = kTileRows, class Lane = typename Product::Lane>
HWY_INLINE void multiply_tile_of(std::size_t rows, const Tile<Lane>& tile) {
  if (rows == kRows) return multiply_tile<Product, kRows>(tile);
  if constexpr (kRows > 1) multiply_tile_of<Product, kRows - 1>(rows, tile);
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
template <class Product, class Lane = typename Product::Lane>
HWY_INLINE void multiply_rows(std::size_t rows, Tile<Lane> tile, Ahead ahead = {}) {
  const std::size_t all = (rows + kTileRows - 1) / kTileRows;
  const std::size_t lines = ahead.lines() / HWY_MAX(all, 1) + 1;
  for (std::size_t tiles = all; tiles > 0; --tiles) {
    const std::size_t height = (rows + tiles - 1) / tiles;
    ahead.ask(lines);
    multiply_tile_of<Product>(height, tile);
    tile.x += height * tile.x_stride;
    tile.c += height * tile.c_stride;
    rows -= height;
  }
}

/// Inputs a packed panel takes at a time: slices of nearly equal depth, whole vectors.
HWY_INLINE std::size_t slice_depth(std::size_t in) {
  const std::size_t slices = (in + kPanelDepth - 1) / kPanelDepth;
  return ((in + slices - 1) / slices + 15) / 16 * 16;
}

}  // namespace wdmoe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
