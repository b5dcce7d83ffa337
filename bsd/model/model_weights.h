#pragma once
// Everything of a checkpoint that is not an expert, by name: views into the mapped files.

#include <vector>

#include "bsd/model/model_config.h"
#include "common/result.h"
#include "common/tensor.h"
#include "weights/checkpoint.h"

namespace wdmoe::bsd {

struct LayerWeights {
  Tensor attention_norm;     ///< [1, hidden]
  Tensor query, key, value;  ///< [heads or kv_heads · head_dim, hidden]
  Tensor output;             ///< [hidden, heads · head_dim]
  Tensor expert_norm;        ///< [1, hidden]
  Tensor gate;               ///< [experts, hidden]
};

struct ModelWeights {
  Tensor embedding;   ///< [vocabulary, hidden]
  Tensor final_norm;  ///< [1, hidden]
  Tensor head;        ///< [vocabulary, hidden]; the embedding itself when tied
  std::vector<LayerWeights> layers;

  /// Views stay valid while a copy of `checkpoint` lives.  Errors: a tensor that is missing or has
  /// another shape (bad_input, not_found), and one that this model has no use for (a bias, say:
  /// unsupported), because leaving it out would change the maths.
  static Result<ModelWeights> find(const weights::Checkpoint& checkpoint,
                                   const ModelConfig& config);
};

}  // namespace wdmoe::bsd
