#pragma once
// The sizes that config.json declares, as far as cutting, checking and describing a model needs
// them.  Whether the maths is one we implement is the base station's question (bsd/model).

#include <cstddef>
#include <filesystem>
#include <string>

#include "common/result.h"

namespace wdmoe::weights {

struct ModelShape {
  std::size_t vocabulary = 0, hidden = 0, ffn = 0, layers = 0;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t experts = 0, experts_per_token = 0;
  bool tied_embeddings = false;
};

/// From `directory`/config.json; every number is within the bounds of shape_limits.  Errors name
/// the file and the key.
Result<ModelShape> read_model_shape(const std::filesystem::path& directory);

/// The keys of config.json that describe the model (not how it was saved), sorted, as one text.
Result<std::string> canonical_config(const std::filesystem::path& directory);

/// Upper bounds, far beyond any model that exists, so that products of two sizes fit 64 bits.
namespace shape_limits {
constexpr std::size_t kVocabulary = 1u << 22, kHidden = 1u << 20, kFfn = 1u << 20;
constexpr std::size_t kLayers = 1024, kExperts = 4096, kHeads = 4096, kHeadDim = 4096;
}  // namespace shape_limits

}  // namespace wdmoe::weights
