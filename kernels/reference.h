#pragma once
// The plain twins of kernels/ops.h: one loop per equation, double precision, no threads, no SIMD.
// They are the definition of correct; tests compare the fast kernels with them, and nothing on a
// token's way calls them.

#include "kernels/ops.h"

namespace wdmoe::kernels::reference {

/// One element of a tensor as f32; `data` may be unaligned.
float element(Tensor tensor, std::size_t row, std::size_t col);

void linear(Tensor weight, Matrix<const float> x, Matrix<float> y);
void linear_add(Tensor weight, Matrix<const float> x, Matrix<float> y);
void rms_norm(Tensor weight, float epsilon, Matrix<const float> x, Matrix<float> y);
void copy_row(Tensor table, std::size_t index, float* out);
void from_wire(Tensor rows, Matrix<float> out);
bool to_wire(Matrix<const float> rows, MutableTensor out);
void add_scaled(float a, Matrix<const float> x, Matrix<float> y);
void rotate(Matrix<float> heads, std::size_t head_dim, Span<const std::uint32_t> positions,
            Span<const float> inverse_frequency);
void softmax_rows(Matrix<float> x);

/// Materialises every score; O(positions) memory per query.
void attend(const AttentionShape& shape, Span<const AttentionJob> jobs, Matrix<const float> q,
            Matrix<float> out);

/// x · sigmoid(x).
double silu(double x);

}  // namespace wdmoe::kernels::reference
