#pragma once
// config.json of a Mixtral-architecture checkpoint, checked: a key that would change the maths and
// is not implemented fails the load by name.  Read once, at start-up; a plain value afterwards.

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
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

  /// Reads DIRECTORY/config.json and, if there, generation_config.json.
  static Result<ModelConfig> load(const std::filesystem::path& directory);

  /// The same from the files' texts; `generation` is empty when there is no such file.
  /// The rule for each key of config.json:
  ///   1. keys this file reads are read and bounded; a required one that is missing is an error;
  ///   2. keys that only concern training, generation defaults or bookkeeping are listed as
  ///   harmless;
  ///   3. any other key fails the load by name (unsupported), unless its value says "off" (null,
  ///      false, or an empty list or object), so a feature newer than this build cannot pass
  ///      unnoticed, and a feature switched off does not stop anyone.
  static Result<ModelConfig> parse(std::string_view config, std::string_view generation);
};

}  // namespace wdmoe::bsd
