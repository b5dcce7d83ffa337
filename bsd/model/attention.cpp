#include "bsd/model/attention.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::bsd {

Attention::Attention(const ModelConfig& config, const ModelWeights& weights,
                     kernels::ThreadPool& pool)
    : config_(config), weights_(weights), pool_(pool), inverse_frequency_(config.head_dim / 2) {
  // RoPE, as transformers computes it:  inverse_frequency[i] = theta^(-2i / head_dim)
  for (std::size_t i = 0; i < inverse_frequency_.size(); ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(config.head_dim);
    inverse_frequency_[i] = static_cast<float>(std::pow(config.rope_theta, -exponent));
  }
}

void Attention::begin(Span<const Slice> batch) {
  positions_.clear();
  for (const Slice& slice : batch)
    for (std::size_t i = 0; i < slice.tokens.size(); ++i)
      positions_.push_back(static_cast<std::uint32_t>(slice.cache->length() + i));
}

void Attention::forward(std::size_t layer, Span<const Slice> batch, RowRange rows,
                        Matrix<float> x) {
  const LayerWeights& weights = weights_.layers[layer];
  const std::size_t query_size = config_.heads * config_.head_dim;
  const std::size_t key_size = config_.kv_heads * config_.head_dim;
  const Matrix<float> normed = normed_.matrix(x.rows, config_.hidden);
  const Matrix<float> queries = queries_.matrix(x.rows, query_size);
  const Matrix<float> keys = keys_.matrix(x.rows, key_size);
  const Matrix<float> values = values_.matrix(x.rows, key_size);
  const Matrix<float> context = context_.matrix(x.rows, query_size);

  kernels::rms_norm(weights.attention_norm, config_.rms_norm_epsilon, x, normed);
  kernels::linear(pool_, weights.query, normed, queries);
  kernels::linear(pool_, weights.key, normed, keys);
  kernels::linear(pool_, weights.value, normed, values);
  const Span<const std::uint32_t> positions(positions_.data() + rows.first, rows.count);
  const Span<const float> frequencies(inverse_frequency_.data(), inverse_frequency_.size());
  kernels::rotate(queries, config_.head_dim, positions, frequencies);
  kernels::rotate(keys, config_.head_dim, positions, frequencies);
  write_cache(layer, batch, rows, keys, values);

  const kernels::AttentionShape shape{config_.heads, config_.kv_heads, config_.head_dim,
                                      kPageTokens, config_.sliding_window};
  kernels::attend(pool_, shape, {jobs_.data(), jobs_.size()}, queries, context);
  kernels::linear_add(pool_, weights.output, context, x);
}

/// Fills jobs_, one for each slice that has some of the rows.
void Attention::write_cache(std::size_t layer, Span<const Slice> batch, RowRange rows,
                            Matrix<const float> keys, Matrix<const float> values) {
  jobs_.clear();
  std::size_t slice_first = 0;
  for (const Slice& slice : batch) {
    const std::size_t slice_end = slice_first + slice.tokens.size();
    const std::size_t first = std::max(rows.first, slice_first);
    const std::size_t end = std::min(rows.first + rows.count, slice_end);
    KvSequence& cache = *slice.cache;
    for (std::size_t row = first; row < end; ++row)
      cache.write(layer, positions_[row], keys.row(row - rows.first), values.row(row - rows.first));
    if (first < end)
      jobs_.push_back({first - rows.first, end - first, positions_[first], cache.key_pages(layer),
                       cache.value_pages(layer)});
    slice_first = slice_end;
  }
}

}  // namespace wdmoe::bsd
