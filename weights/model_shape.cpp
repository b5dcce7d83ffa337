#include "weights/model_shape.h"

#include <array>

#include "weights/json.h"

namespace wdmoe::weights {
namespace {

namespace limits = shape_limits;

/// Keys that change what the model computes.  How it was saved (dtype, version, cache) is not here.
constexpr std::array kModelKeys = {
    "attention_bias",      "head_dim",
    "hidden_act",          "hidden_size",
    "intermediate_size",   "model_type",
    "num_attention_heads", "num_experts_per_tok",
    "num_hidden_layers",   "num_key_value_heads",
    "num_local_experts",   "quantization_config",
    "rms_norm_eps",        "rope_parameters",
    "rope_scaling",        "rope_theta",
    "sliding_window",      "tie_word_embeddings",
    "vocab_size",
};

struct Field {
  const char* key;
  std::size_t* value;
  std::size_t most;
};

Result<void> read_optional(const rapidjson::Value& config, const Field& field,
                           std::size_t otherwise) {
  *field.value = otherwise;
  if (member(config, field.key) == nullptr) return {};
  const auto value = whole_number(config, field.key, 1, field.most);
  if (!value) return tl::unexpected(value.error());
  *field.value = static_cast<std::size_t>(*value);
  return {};
}

Result<ModelShape> shape_from(const rapidjson::Value& config) {
  ModelShape shape;
  const Field required[] = {
      {"vocab_size", &shape.vocabulary, limits::kVocabulary},
      {"hidden_size", &shape.hidden, limits::kHidden},
      {"intermediate_size", &shape.ffn, limits::kFfn},
      {"num_hidden_layers", &shape.layers, limits::kLayers},
      {"num_attention_heads", &shape.heads, limits::kHeads},
      {"num_local_experts", &shape.experts, limits::kExperts},
      {"num_experts_per_tok", &shape.experts_per_token, limits::kExperts},
  };
  for (const Field& field : required) {
    const auto value = whole_number(config, field.key, 1, field.most);
    if (!value) return tl::unexpected(value.error());
    *field.value = static_cast<std::size_t>(*value);
  }
  WDMOE_TRY(
      read_optional(config, {"num_key_value_heads", &shape.kv_heads, limits::kHeads}, shape.heads));
  WDMOE_TRY(read_optional(config, {"head_dim", &shape.head_dim, limits::kHeadDim},
                          shape.hidden / shape.heads));
  const rapidjson::Value* tied = member(config, "tie_word_embeddings");
  shape.tied_embeddings = tied != nullptr && tied->IsBool() && tied->GetBool();
  return shape;
}

}  // namespace

Result<ModelShape> read_model_shape(const std::filesystem::path& directory) {
  const auto path = directory / "config.json";
  const auto config = read_json_object(path);
  if (!config) return tl::unexpected(config.error());
  auto shape = shape_from(*config);
  if (!shape) return fail(path.string(), std::move(shape).error());
  return shape;
}

Result<std::string> canonical_config(const std::filesystem::path& directory) {
  const auto config = read_json_object(directory / "config.json");
  if (!config) return tl::unexpected(config.error());
  std::string text;
  for (const char* key : kModelKeys)
    if (const rapidjson::Value* value = member(*config, key))
      text += std::string(key) + "=" + canonical_json(*value) + "\n";
  return text;
}

}  // namespace wdmoe::weights
