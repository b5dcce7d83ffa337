// Linear layers: the blocks of one product, handed to the threads (kernels/matmul.cpp computes
// them).

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "kernels/matmul.h"
#include "kernels/ops.h"
#include "kernels/thread_pool.h"

namespace wdmoe::kernels {

namespace {

/// The blocks of one product: columns within rows, so that neighbours share x.
template <class Finish>
void for_each_block(ThreadPool& pool, Tensor weight, Matrix<const float> x, const Finish& finish) {
  pool.reserve_scratch(kPanelFloats + kBlockFloats);
  const std::size_t across = (weight.rows + kBlockColumns - 1) / kBlockColumns;
  const std::size_t down = (x.rows + kBlockRows - 1) / kBlockRows;
  const auto block = [&](std::size_t item, std::size_t thread) {
    const std::size_t col = item % across * kBlockColumns, row = item / across * kBlockRows;
    const std::size_t cols = std::min(kBlockColumns, weight.rows - col);
    const std::size_t rows = std::min(kBlockRows, x.rows - row);
    float* panel = pool.scratch(thread);
    float* c = panel + kPanelFloats;
    multiply_block(weight.slice_rows(col, cols), x.slice_rows(row, rows), panel, c);
    finish(row, col, Matrix<const float>{c, rows, cols, kBlockColumns});
  };
  if (x.rows * weight.rows * weight.cols < kWorthSharing) {
    pool.run_here(across * down, block);
  } else {
    pool.run(across * down, block);
  }
}

}  // namespace

void linear(ThreadPool& pool, Tensor weight, Matrix<const float> x, Matrix<float> y) {
  WDMOE_CHECK(x.cols == weight.cols && y.cols == weight.rows && x.rows == y.rows);
  for_each_block(pool, weight, x, [&](std::size_t row, std::size_t col, Matrix<const float> c) {
    for (std::size_t r = 0; r < c.rows; ++r)
      std::memcpy(y.row(row + r) + col, c.row(r), c.cols * sizeof(float));
  });
}

void linear_add(ThreadPool& pool, Tensor weight, Matrix<const float> x, Matrix<float> y) {
  WDMOE_CHECK(x.cols == weight.cols && y.cols == weight.rows && x.rows == y.rows);
  for_each_block(pool, weight, x, [&](std::size_t row, std::size_t col, Matrix<const float> c) {
    for (std::size_t r = 0; r < c.rows; ++r)
      for (std::size_t j = 0; j < c.cols; ++j) y.row(row + r)[col + j] += c.row(r)[j];
  });
}

}  // namespace wdmoe::kernels
