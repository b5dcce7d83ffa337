#include "bsd/model/attention.h"

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
  jobs_.clear();
  for (const Slice& slice : batch) {
    const std::size_t first = slice.cache->length();
    jobs_.push_back({positions_.size(), slice.tokens.size(), first, {}, {}});
    for (std::size_t i = 0; i < slice.tokens.size(); ++i)
      positions_.push_back(static_cast<std::uint32_t>(first + i));
  }
}

void Attention::forward(std::size_t layer, Span<const Slice> batch, Matrix<float> x) {
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
  const Span<const std::uint32_t> positions(positions_.data(), positions_.size());
  const Span<const float> frequencies(inverse_frequency_.data(), inverse_frequency_.size());
  kernels::rotate(queries, config_.head_dim, positions, frequencies);
  kernels::rotate(keys, config_.head_dim, positions, frequencies);
  write_cache(layer, batch, keys, values);

  const kernels::AttentionShape shape{config_.heads, config_.kv_heads, config_.head_dim,
                                      kPageTokens, config_.sliding_window};
  kernels::attend(pool_, shape, {jobs_.data(), jobs_.size()}, queries, context);
  kernels::linear_add(pool_, weights.output, context, x);
}

void Attention::write_cache(std::size_t layer, Span<const Slice> batch, Matrix<const float> keys,
                            Matrix<const float> values) {
  for (std::size_t i = 0; i < jobs_.size(); ++i) {
    kernels::AttentionJob& job = jobs_[i];
    KvSequence& cache = *batch[i].cache;
    for (std::size_t row = 0; row < job.rows; ++row)
      cache.write(layer, job.first_position + row, keys.row(job.first_row + row),
                  values.row(job.first_row + row));
    job.key_pages = cache.key_pages(layer);
    job.value_pages = cache.value_pages(layer);
  }
}

}  // namespace wdmoe::bsd
