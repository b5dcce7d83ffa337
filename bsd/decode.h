#pragma once
// THE STORY: one step of the model for every sequence in a batch.  decode.cpp is the table of contents of
// the program.  Engine thread only.

#include <memory>
#include <vector>

#include "bsd/model/kv_cache.h"
#include "bsd/model/model_config.h"
#include "bsd/moe/expert_runner.h"
#include "bsd/moe/selection.h"
#include "bsd/request.h"
#include "common/result.h"
#include "common/tensor.h"
#include "kernels/thread_pool.h"
#include "weights/checkpoint.h"

namespace wdmoe::bsd {

/// Consecutive new tokens of one sequence; their positions follow what its cache holds.
struct Slice {
  KvSequence* cache = nullptr;   ///< reserved for length() + tokens.size() already
  Span<const Token> tokens;
  enum class Logits { none, last, all } logits = Logits::last;
};

class Decoder {
 public:
  /// Loads (maps) the non-expert weights.  `pool`, `experts` and `policy` outlive the decoder.
  static Result<std::unique_ptr<Decoder>> load(const weights::Checkpoint& checkpoint,
                                               const ModelConfig& config, kernels::ThreadPool& pool,
                                               ExpertRunner& experts, SelectionPolicy& policy);
  virtual ~Decoder() = default;

  virtual const ModelConfig& config() const = 0;
  virtual void set_policy(SelectionPolicy& policy) = 0;

  /// Runs the batch through every layer and advances the caches.  Returns the wanted logits, row by
  /// row in batch order, [wanted, vocabulary]; valid until the next step.  On error (a device did
  /// not answer) the caches are as before and the step may be tried again.
  virtual Result<Matrix<const float>> step(Span<const Slice> batch, StepCosts& costs) = 0;
};

}  // namespace wdmoe::bsd
