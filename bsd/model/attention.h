#pragma once
// The attention block of every layer, here on the base station: norm, projections, rotary
// embedding, cache, attention, residual.  Engine thread only.

#include <cstdint>
#include <vector>

#include "bsd/model/batch.h"
#include "bsd/model/model_config.h"
#include "bsd/model/model_weights.h"
#include "bsd/model/scratch.h"
#include "common/tensor.h"
#include "kernels/ops.h"
#include "kernels/thread_pool.h"

namespace wdmoe::bsd {

class Attention {
 public:
  /// `config`, `weights` and `pool` outlive the block.
  Attention(const ModelConfig& config, const ModelWeights& weights, kernels::ThreadPool& pool);

  /// Takes the positions of this batch's rows; before the first layer.
  void begin(Span<const Slice> batch);

  /// x += output · attend(norm(x)) for one layer and these rows of the batch; x: [rows.count,
  /// hidden].  Writes the new keys and values into the caches without advancing them.  A sequence's
  /// earlier rows must have passed this layer before: attention is causal, so later ones need not.
  void forward(std::size_t layer, Span<const Slice> batch, RowRange rows, Matrix<float> x);

 private:
  void write_cache(std::size_t layer, Span<const Slice> batch, RowRange rows,
                   Matrix<const float> keys, Matrix<const float> values);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  kernels::ThreadPool& pool_;
  std::vector<float> inverse_frequency_;     ///< [head_dim / 2]
  std::vector<std::uint32_t> positions_;     ///< [rows]
  std::vector<kernels::AttentionJob> jobs_;  ///< of the rows that forward() is called for
  Scratch normed_, queries_, keys_, values_, context_;
};

}  // namespace wdmoe::bsd
