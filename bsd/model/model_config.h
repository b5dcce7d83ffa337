#pragma once
// config.json of a Mixtral-architecture checkpoint, checked: a key that would change the maths and is not
// implemented fails the load by name.

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "common/result.h"

namespace wdmoe::bsd {

struct ModelConfig {
  std::size_t vocabulary = 0, hidden = 0, ffn = 0, layers = 0;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t experts = 0, experts_per_token = 0;
  std::size_t max_positions = 0;
  std::size_t sliding_window = 0;  ///< 0: none
  float rms_norm_epsilon = 1e-5f;
  double rope_theta = 1e6;
  bool tied_embeddings = false;
  std::vector<unsigned> eos_tokens;  ///< generation_config.json overrides config.json

  static Result<ModelConfig> load(const std::filesystem::path& directory);
};

}  // namespace wdmoe::bsd
