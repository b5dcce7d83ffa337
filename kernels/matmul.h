#pragma once
// The one hot primitive: a block of output columns for up to kBlockRows rows.  Linear layers, both
// halves of an expert and attention scores are loops over it; each adds its own last step to the
// block while it is still in cache.

#include <cstddef>

#include "common/tensor.h"

namespace wdmoe::kernels {

constexpr std::size_t kBlockColumns = 32;  ///< two AVX-512 vectors: the widest panel of any target
constexpr std::size_t kBlockRows = 512;    ///< a block of results then is 64 KiB, within any L2
constexpr std::size_t kPanelDepth =
    256;  ///< a packed panel of 16 columns then is half of a 32 KiB L1

/// Floats of working memory that multiply_block() and accumulate() need.
constexpr std::size_t kPanelFloats = kPanelDepth * kBlockColumns;
/// Floats of one block of results.
constexpr std::size_t kBlockFloats = kBlockRows * kBlockColumns;

/// c[row, j] = x[row] · weight[j]; weight: the block's rows, at most kBlockColumns;
/// x.rows <= kBlockRows.  c has stride kBlockColumns, and columns up to it may be overwritten.
/// `next`: the weights of the block that will be asked for after this one (of the same shape), so
/// that they are on their way from memory by then; null: unknown.
void multiply_block(Tensor weight, Matrix<const float> x, float* panel, float* c,
                    const std::byte* next = nullptr);

/// True where products with bf16 weights round x to bf16 first, because this machine multiplies
/// bf16 pairs itself (AVX-512-BF16; as llama.cpp and PyTorch do with bf16 weights).
bool rounds_bf16_rows();

/// o[row] += Σ_t p[row, t] · v[t] for t < p.cols <= kPanelDepth.  o.cols == v.cols; o's stride is a
/// multiple of kBlockColumns and the columns up to it may be overwritten.
void accumulate(Matrix<const float> p, Matrix<const float> v, float* panel, Matrix<float> o);

}  // namespace wdmoe::kernels
