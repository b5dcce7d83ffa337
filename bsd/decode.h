#pragma once
// THE STORY: one step of the model for every sequence in a batch.  decode.cpp is the table of
// contents of the program.  Engine thread only.

#include <cstdint>
#include <memory>

#include "bsd/model/attention.h"
#include "bsd/model/batch.h"
#include "bsd/model/gate.h"
#include "bsd/model/model_config.h"
#include "bsd/model/model_weights.h"
#include "bsd/model/scratch.h"
#include "bsd/moe/expert_runner.h"
#include "bsd/moe/selection.h"
#include "bsd/request.h"
#include "bsd/selector.h"
#include "common/result.h"
#include "common/tensor.h"
#include "kernels/thread_pool.h"
#include "weights/checkpoint.h"

namespace wdmoe::bsd {

class Decoder {
 public:
  /// Maps the non-expert weights.  `pool`, `experts` and `policy` outlive the decoder.
  static Result<std::unique_ptr<Decoder>> load(const weights::Checkpoint& checkpoint,
                                               const ModelConfig& config, kernels::ThreadPool& pool,
                                               ExpertRunner& experts, SelectionPolicy& policy);
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  const ModelConfig& config() const { return config_; }
  void set_policy(SelectionPolicy& policy) { selector_.set_policy(policy); }
  /// Policy, witnesses and tallies of the decisions.
  Selector& selector() { return selector_; }

  /// Runs the batch through every layer and advances the caches.  Returns the wanted logits, row by
  /// row in batch order, [wanted, vocabulary]; valid until the next step.  Adds to `costs`.
  /// Errors: bad_input (no token, a token outside the vocabulary, numbers that are not finite),
  /// limit (beyond the model's positions), unavailable or timeout (a device); the caches are as
  /// before then, and after a device's fault the step may be tried again. Does not allocate once it
  /// has seen a batch at least as large.
  Result<Matrix<const float>> step(Span<const Slice> batch, StepCosts& costs);

 private:
  Decoder(const weights::Checkpoint& checkpoint, const ModelConfig& config, ModelWeights weights,
          kernels::ThreadPool& pool, ExpertRunner& experts, SelectionPolicy& policy);

  Result<void> check(Span<const Slice> batch) const;
  Matrix<float> look_up(Span<const Slice> batch);
  Result<void> run_layers(Span<const Slice> batch, Matrix<float> x, StepCosts& costs);
  Result<void> begin_experts(std::size_t layer, RowRange part, Matrix<float> x, Matrix<float> sums,
                             StepCosts& costs);
  Result<void> finish_experts(Matrix<float> x, Matrix<const float> sums, StepCosts& costs);
  Matrix<const float> head(Span<const Slice> batch, Matrix<const float> x);

  weights::Checkpoint checkpoint_;  ///< keeps the files mapped
  const ModelConfig config_;
  const ModelWeights weights_;
  kernels::ThreadPool& pool_;
  ExpertRunner& experts_;
  Attention attention_;
  Gate gate_;
  Selector selector_;
  Scratch x_, normed_, sums_, wanted_, logits_;
};

}  // namespace wdmoe::bsd
