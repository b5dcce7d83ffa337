#pragma once
// Row-wise steps between matrix products that only kernels/ uses: what experts and attention do to
// a block of results while it is in cache.  Vectorised as ops.h's, in the same file.

#include <cstddef>

#include "common/tensor.h"

namespace wdmoe::kernels {

/// out[row, j] = silu(gate[row, j]) · up[row, j]; shapes equal.
void silu_multiply(Matrix<const float> gate, Matrix<const float> up, Matrix<float> out);

/// y[j] += a · x[j] for j < count.
void add_scaled_row(float a, const float* x, float* y, std::size_t count);

/// Writes `count` numbers as `dtype` to unaligned memory; false if a finite one overflowed f16.
bool store_row(const float* x, std::size_t count, DType dtype, std::byte* out);

/// Reads `count` numbers of `dtype` from unaligned memory.
void load_row(const std::byte* in, std::size_t count, DType dtype, float* out);

/// Columns of a score block that a query may see: [begin, end).
struct Visible {
  std::size_t begin, end;
};

/// Softmax over all scores seen so far, one query row per row, kept unnormalised:
/// o = Σ exp(score - largest) · value and sum = Σ exp(score - largest).
struct OnlineSoftmax {
  float* largest;   ///< [rows], lowest float before the first block
  float* sum;       ///< [rows], 0 before the first block
  Matrix<float> o;  ///< [rows, head_dim], 0 before the first block
};

/// Takes in a block: rescales o and sum to the new largest score and turns `scores` into
/// exp(score - largest), 0 where not visible.  The caller then adds scores · values to o.
void online_softmax(const OnlineSoftmax& state, const Visible* visible, Matrix<float> scores);

}  // namespace wdmoe::kernels
