#pragma once
// The gate: how much each token wants each expert.  Its weights stay on the base station, because
// the selection needs every expert's probability before anything goes over the air.

#include "bsd/model/model_config.h"
#include "bsd/model/model_weights.h"
#include "bsd/model/scratch.h"
#include "common/result.h"
#include "common/tensor.h"
#include "kernels/thread_pool.h"

namespace wdmoe::bsd {

class Gate {
 public:
  /// `weights` and `pool` outlive the gate.
  Gate(const ModelWeights& weights, kernels::ThreadPool& pool) : weights_(weights), pool_(pool) {}

  /// Softmax over all experts, in f32: [rows, experts], rows sum to 1; valid until the next call.
  /// x: [rows, hidden], normed.  bad_input when a row is not finite (damaged weights, an overflow).
  Result<Matrix<const float>> forward(std::size_t layer, Matrix<const float> x);

 private:
  const ModelWeights& weights_;
  kernels::ThreadPool& pool_;
  Scratch probabilities_;
};

}  // namespace wdmoe::bsd
