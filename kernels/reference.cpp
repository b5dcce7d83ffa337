#include "kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace wdmoe::kernels::reference {
namespace {

double dot(Tensor weight, std::size_t out, const float* x) {
  double sum = 0;
  for (std::size_t in = 0; in < weight.cols; ++in)
    sum += static_cast<double>(element(weight, out, in)) * static_cast<double>(x[in]);
  return sum;
}

void write(MutableTensor out, std::size_t row, std::size_t col, float value) {
  std::byte* at = out.row(row) + col * bytes_of(out.dtype);
  if (out.dtype == DType::f32) {
    std::memcpy(at, &value, sizeof value);
    return;
  }
  const std::uint16_t bits =
      out.dtype == DType::f16 ? f16_from_float(value) : bf16_from_float(value);
  std::memcpy(at, &bits, sizeof bits);
}

/// softmax of `scores` in place, in double.
void softmax(std::vector<double>& scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  for (double& score : scores) score /= sum;
}

/// One (query row, head): out[head_dim].
void attend_one(const AttentionShape& shape, const AttentionJob& job, std::size_t position,
                std::size_t kv_head, const float* query, float* out) {
  const std::size_t first =
      shape.window == 0 || position + 1 < shape.window ? 0 : position + 1 - shape.window;
  const auto at = [&](Span<const float* const> pages, std::size_t token) {
    return pages[token / shape.page_tokens] +
           (kv_head * shape.page_tokens + token % shape.page_tokens) * shape.head_dim;
  };
  std::vector<double> scores;
  for (std::size_t token = first; token <= position; ++token) {
    double score = 0;
    for (std::size_t d = 0; d < shape.head_dim; ++d)
      score += static_cast<double>(query[d]) * static_cast<double>(at(job.key_pages, token)[d]);
    scores.push_back(score / std::sqrt(static_cast<double>(shape.head_dim)));
  }
  softmax(scores);
  for (std::size_t d = 0; d < shape.head_dim; ++d) {
    double sum = 0;
    for (std::size_t token = first; token <= position; ++token)
      sum += scores[token - first] * static_cast<double>(at(job.value_pages, token)[d]);
    out[d] = static_cast<float>(sum);
  }
}

}  // namespace

float element(Tensor tensor, std::size_t row, std::size_t col) {
  const std::byte* at = tensor.row(row) + col * bytes_of(tensor.dtype);
  if (tensor.dtype == DType::f32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  return tensor.dtype == DType::f16 ? float_from_f16(bits) : float_from_bf16(bits);
}

void linear(Tensor weight, Matrix<const float> x, Matrix<float> y) {
  for (std::size_t row = 0; row < x.rows; ++row)
    for (std::size_t out = 0; out < weight.rows; ++out)
      y.row(row)[out] = static_cast<float>(dot(weight, out, x.row(row)));
}

void linear_add(Tensor weight, Matrix<const float> x, Matrix<float> y) {
  for (std::size_t row = 0; row < x.rows; ++row)
    for (std::size_t out = 0; out < weight.rows; ++out)
      y.row(row)[out] =
          static_cast<float>(static_cast<double>(y.row(row)[out]) + dot(weight, out, x.row(row)));
}

void rms_norm(Tensor weight, float epsilon, Matrix<const float> x, Matrix<float> y) {
  for (std::size_t row = 0; row < x.rows; ++row) {
    double squares = 0;
    for (std::size_t col = 0; col < x.cols; ++col)
      squares += static_cast<double>(x.row(row)[col]) * static_cast<double>(x.row(row)[col]);
    const double mean = squares / static_cast<double>(x.cols);
    const double scale = 1 / std::sqrt(mean + static_cast<double>(epsilon));
    for (std::size_t col = 0; col < x.cols; ++col)
      y.row(row)[col] = static_cast<float>(static_cast<double>(x.row(row)[col]) * scale *
                                           static_cast<double>(element(weight, 0, col)));
  }
}

void copy_row(Tensor table, std::size_t index, float* out) {
  for (std::size_t col = 0; col < table.cols; ++col) out[col] = element(table, index, col);
}

void from_wire(Tensor rows, Matrix<float> out) {
  for (std::size_t row = 0; row < rows.rows; ++row) copy_row(rows, row, out.row(row));
}

bool to_wire(Matrix<const float> rows, MutableTensor out) {
  bool fits = true;
  for (std::size_t row = 0; row < rows.rows; ++row)
    for (std::size_t col = 0; col < rows.cols; ++col) {
      const float value = rows.row(row)[col];
      write(out, row, col, value);
      if (out.dtype == DType::f16 && std::isfinite(value) &&
          std::isinf(float_from_f16(f16_from_float(value))))
        fits = false;
    }
  return fits;
}

void add_scaled(float a, Matrix<const float> x, Matrix<float> y) {
  for (std::size_t row = 0; row < x.rows; ++row)
    for (std::size_t col = 0; col < x.cols; ++col)
      y.row(row)[col] =
          static_cast<float>(static_cast<double>(y.row(row)[col]) +
                             static_cast<double>(a) * static_cast<double>(x.row(row)[col]));
}

void rotate(Matrix<float> heads, std::size_t head_dim, Span<const std::uint32_t> positions,
            Span<const float> inverse_frequency) {
  const std::size_t half = head_dim / 2;
  for (std::size_t row = 0; row < heads.rows; ++row)
    for (std::size_t first = 0; first < heads.cols; first += head_dim)
      for (std::size_t i = 0; i < half; ++i) {
        // The angle is an f32 product, as Hugging Face computes it.
        const double angle =
            static_cast<double>(static_cast<float>(positions[row]) * inverse_frequency[i]);
        float* low = heads.row(row) + first + i;
        float* high = low + half;
        const double a = static_cast<double>(*low), b = static_cast<double>(*high);
        *low = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
        *high = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
      }
}

void softmax_rows(Matrix<float> x) {
  if (x.cols == 0) return;
  for (std::size_t row = 0; row < x.rows; ++row) {
    std::vector<double> scores(x.row(row), x.row(row) + x.cols);
    softmax(scores);
    for (std::size_t col = 0; col < x.cols; ++col)
      x.row(row)[col] = static_cast<float>(scores[col]);
  }
}

void attend(const AttentionShape& shape, Span<const AttentionJob> jobs, Matrix<const float> q,
            Matrix<float> out) {
  const std::size_t group = shape.heads / shape.kv_heads;
  for (const AttentionJob& job : jobs)
    for (std::size_t row = 0; row < job.rows; ++row)
      for (std::size_t head = 0; head < shape.heads; ++head)
        attend_one(shape, job, job.first_position + row, head / group,
                   q.row(job.first_row + row) + head * shape.head_dim,
                   out.row(job.first_row + row) + head * shape.head_dim);
}

double silu(double x) {
  return x / (1 + std::exp(-x));
}

}  // namespace wdmoe::kernels::reference
