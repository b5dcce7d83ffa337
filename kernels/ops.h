#pragma once
// What the base station computes around the experts: linear layers, norms, rotary embedding,
// attention over a paged cache.  All f32 working data; weights in their file's dtype, unaligned.
// Every function has a plain twin in kernels/reference.h that the tests compare with.

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/span.h"
#include "common/tensor.h"
#include "kernels/thread_pool.h"

namespace wdmoe::kernels {

/// y[rows, out] = x[rows, in] · weightᵀ, weight [out, in] f32/f16/bf16.  Few rows take the
/// matrix-vector path, many the packed matrix-matrix path.  y must not overlap x.
/// Bits: the same for any number of threads.  Not for any number of rows: the two paths, and row
/// counts within the matrix-vector path, add in different orders, so a row computed alone may
/// differ from the same row among 512 in its last bits.
/// Where the processor multiplies bf16 pairs itself (rounds_bf16_rows() in matmul.h), bf16 weights
/// meet x rounded to bf16, as in llama.cpp and PyTorch; all other products are exact before sums.
void linear(ThreadPool& pool, Tensor weight, Matrix<const float> x, Matrix<float> y);

/// As linear(), but y += x · weightᵀ (residual connections).
void linear_add(ThreadPool& pool, Tensor weight, Matrix<const float> x, Matrix<float> y);

/// y[row] = x[row] / sqrt(mean(x[row]²) + epsilon) ∘ weight; weight [1, cols] any dtype.  May
/// alias.
void rms_norm(Tensor weight, float epsilon, Matrix<const float> x, Matrix<float> y);

/// Row `index` of an embedding table [vocabulary, hidden], as f32.
void copy_row(Tensor table, std::size_t index, float* out);

/// Converts rows between f32 and a wire dtype; shapes equal.  to_wire returns false if a finite
/// value overflowed f16 (it is written as infinity then).
void from_wire(Tensor rows, Matrix<float> out);
bool to_wire(Matrix<const float> rows, MutableTensor out);

/// y += a · x over whole matrices of one shape.
void add_scaled(float a, Matrix<const float> x, Matrix<float> y);

/// Rotary embedding in the "rotate half" layout of Hugging Face: for i < head_dim/2,
///   (v[i], v[i + head_dim/2]) rotated by position · inverse_frequency[i].
/// heads: [rows, count · head_dim], in place; positions[row].
void rotate(Matrix<float> heads, std::size_t head_dim, Span<const std::uint32_t> positions,
            Span<const float> inverse_frequency);

/// Row-wise softmax in place, in f32.
void softmax_rows(Matrix<float> x);

struct AttentionShape {
  std::size_t heads, kv_heads, head_dim;
  std::size_t page_tokens;  ///< tokens per cache page
  std::size_t window;       ///< a query sees at most this many latest positions; 0: all
};

/// One sequence's slice of a batch: `rows` consecutive rows from `first_row` of q and out, whose
/// positions are first_position, first_position + 1, …  Keys and values of every position up to and
/// including the last row's are in the pages already.
/// pages[p]: [kv_heads, page_tokens, head_dim] f32 for positions p·page_tokens …
struct AttentionJob {
  std::size_t first_row, rows, first_position;
  Span<const float*const> key_pages, value_pages;
};

/// Causal grouped-query attention: out[row, head] = softmax(q·kᵀ / sqrt(head_dim)) · v.
/// q, out: [rows, heads · head_dim].  Parallel over jobs, heads and query blocks.
void attend(ThreadPool& pool, const AttentionShape& shape, Span<const AttentionJob> jobs,
            Matrix<const float> q, Matrix<float> out);

/// Name of the instruction set the kernels chose on this machine ("AVX2", "AVX3", "NEON" …), with
/// "+bf16" where products with bf16 weights use a bf16 dot product.
std::string instruction_set();

}  // namespace wdmoe::kernels
