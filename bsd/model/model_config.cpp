#include "bsd/model/model_config.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "bsd/json_depth.h"
#include "bsd/model/config_reader.h"

namespace wdmoe::bsd {
namespace {

using nlohmann::json;

// Bounds: several times the largest published Mixtral-like model, and small enough that no product
// of two of them overflows 64 bits.
constexpr std::size_t kMaxVocabulary = std::size_t{1} << 22;
constexpr std::size_t kMaxHidden = std::size_t{1} << 16;
constexpr std::size_t kMaxFfn = std::size_t{1} << 20;
constexpr std::size_t kMaxLayers = 1024;
constexpr std::size_t kMaxHeads = 1024;
constexpr std::size_t kMaxHeadDim = 1024;
constexpr std::size_t kMaxExperts = 1024;
constexpr std::size_t kMaxPositions = std::size_t{1} << 24;
constexpr std::size_t kMaxNesting = 16;  // a real one has 3
constexpr std::size_t kMaxEosTokens = 64;
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{1} << 20;  // a real one has 1-2 KiB

/// Keys that read_shape() and read_rope() look at.
constexpr std::array kRead = {"vocab_size",
                              "hidden_size",
                              "intermediate_size",
                              "num_hidden_layers",
                              "num_attention_heads",
                              "num_key_value_heads",
                              "head_dim",
                              "num_local_experts",
                              "num_experts",
                              "num_experts_per_tok",
                              "max_position_embeddings",
                              "sliding_window",
                              "rms_norm_eps",
                              "rope_theta",
                              "rope_parameters",
                              "rope_scaling",
                              "tie_word_embeddings",
                              "eos_token_id",
                              "model_type",
                              "hidden_act",
                              "attention_bias",
                              "mlp_bias",
                              "partial_rotary_factor",
                              "pretraining_tp",
                              "is_encoder_decoder",
                              "chunk_size_feed_forward",
                              "architectures"};

/// Keys that do not change what a forward pass computes: training, bookkeeping, generation
/// defaults.
constexpr std::array kHarmless = {"_name_or_path",
                                  "name_or_path",
                                  "transformers_version",
                                  "torch_dtype",
                                  "dtype",
                                  "use_cache",
                                  "initializer_range",
                                  "attention_dropout",
                                  "hidden_dropout",
                                  "router_aux_loss_coef",
                                  "output_router_logits",
                                  "router_jitter_noise",
                                  "bos_token_id",
                                  "pad_token_id",
                                  "sep_token_id",
                                  "cls_token_id",
                                  "unk_token_id",
                                  "mask_token_id",
                                  "decoder_start_token_id",
                                  "_attn_implementation",
                                  "attn_implementation",
                                  "_attn_implementation_autoset",
                                  "id2label",
                                  "label2id",
                                  "num_labels",
                                  "problem_type",
                                  "finetuning_task",
                                  "task_specific_params",
                                  "return_dict",
                                  "return_dict_in_generate",
                                  "output_attentions",
                                  "output_hidden_states",
                                  "output_scores",
                                  "gradient_checkpointing",
                                  "use_return_dict",
                                  "torchscript",
                                  "tokenizer_class",
                                  "prefix",
                                  "use_bfloat16",
                                  "tf_legacy_loss",
                                  "max_length",
                                  "min_length",
                                  "do_sample",
                                  "early_stopping",
                                  "num_beams",
                                  "num_beam_groups",
                                  "diversity_penalty",
                                  "temperature",
                                  "top_k",
                                  "top_p",
                                  "min_p",
                                  "typical_p",
                                  "repetition_penalty",
                                  "length_penalty",
                                  "no_repeat_ngram_size",
                                  "encoder_no_repeat_ngram_size",
                                  "bad_words_ids",
                                  "num_return_sequences",
                                  "forced_bos_token_id",
                                  "forced_eos_token_id",
                                  "remove_invalid_values",
                                  "exponential_decay_length_penalty",
                                  "suppress_tokens",
                                  "begin_suppress_tokens"};

template <class List>
bool contains(const List& list, std::string_view key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

bool is_off(const json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         (value.is_structured() && value.empty());
}

void refuse_unknown_keys(const json& object, ConfigReader& reader) {
  for (const auto& [key, value] : object.items()) {
    if (contains(kRead, key) || contains(kHarmless, key) || is_off(value)) continue;
    return reader.fail_with(Code::unsupported,
                            "key " + json(key).dump(-1, ' ', true, json::error_handler_t::replace) +
                                " is not known to this build and may change the maths; set it to "
                                "null if it does not");
  }
}

void read_shape(ConfigReader& reader, ModelConfig& config) {
  reader.only("model_type", "mixtral");
  reader.only("architectures", json::array({"MixtralForCausalLM"}));
  reader.only("hidden_act", "silu");
  reader.only("attention_bias", false);
  reader.only("mlp_bias", false);
  reader.only("partial_rotary_factor", 1.0);
  reader.only("pretraining_tp", 1);
  reader.only("is_encoder_decoder", false);
  reader.only("chunk_size_feed_forward", 0);
  reader.integer("vocab_size", 1, kMaxVocabulary, true, config.vocabulary);
  reader.integer("hidden_size", 1, kMaxHidden, true, config.hidden);
  reader.integer("intermediate_size", 1, kMaxFfn, true, config.ffn);
  reader.integer("num_hidden_layers", 1, kMaxLayers, true, config.layers);
  reader.integer("num_attention_heads", 1, kMaxHeads, true, config.heads);
  config.kv_heads = config.heads;  // as transformers: null means one key head per query head
  reader.integer("num_key_value_heads", 1, kMaxHeads, false, config.kv_heads);
  const char* experts =
      reader.find("num_local_experts") != nullptr ? "num_local_experts" : "num_experts";
  reader.integer(experts, 1, kMaxExperts, true, config.experts);
  reader.integer("num_experts_per_tok", 1, kMaxExperts, true, config.experts_per_token);
  config.max_positions = 131072;  // transformers' default for Mixtral
  reader.integer("max_position_embeddings", 1, kMaxPositions, false, config.max_positions);
  reader.integer("sliding_window", 1, kMaxPositions, false, config.sliding_window);
  reader.boolean("tie_word_embeddings", config.tied_embeddings);
  double epsilon = 1e-5;
  reader.number("rms_norm_eps", 1e-12, 1.0, epsilon);
  config.rms_norm_epsilon = static_cast<float>(epsilon);
  if (reader.failed() || reader.find("head_dim") != nullptr)
    return reader.integer("head_dim", 2, kMaxHeadDim, true, config.head_dim);
  if (config.hidden % config.heads != 0) {
    return reader.fail_with(Code::bad_input, "hidden_size " + std::to_string(config.hidden) +
                                                 " is no multiple of num_attention_heads " +
                                                 std::to_string(config.heads) +
                                                 "; then head_dim must be given");
  }
  config.head_dim = config.hidden / config.heads;
}

/// rope_theta (transformers v4), rope_scaling (v4) and rope_parameters (v5); only plain RoPE.
void read_rope(ConfigReader& reader, ModelConfig& config) {
  reader.number("rope_theta", 1.0, 1e12, config.rope_theta);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* rope = reader.find(key);
    if (rope == nullptr || reader.failed()) continue;
    if (!rope->is_object())
      return reader.fail_with(Code::bad_input,
                              std::string("key '") + key + "' must be an object or null");
    ConfigReader inner(std::string("config.json: ") + key, *rope);
    inner.only("rope_type", "default");
    inner.only("type", "default");
    inner.only("partial_rotary_factor", 1.0);
    inner.number("rope_theta", 1.0, 1e12, config.rope_theta);
    for (const auto& [name, value] : rope->items()) {
      if (name != "rope_type" && name != "type" && name != "rope_theta" &&
          name != "partial_rotary_factor" && !is_off(value))
        inner.fail_with(Code::unsupported, "key '" + name.substr(0, 60) +
                                               "' is not implemented: only plain RoPE "
                                               "(rope_type default) is");
    }
    if (inner.failed()) {
      const std::string prefix = "config.json: ";  // the outer reader puts it there again
      return reader.fail_with(inner.error().code, inner.error().text.substr(prefix.size()));
    }
  }
}

void check_shape(ConfigReader& reader, const ModelConfig& config) {
  if (reader.failed()) return;
  const auto text = [](std::size_t value) { return std::to_string(value); };
  if (config.heads % config.kv_heads != 0)
    reader.fail_with(Code::bad_input, "num_attention_heads " + text(config.heads) +
                                          " is no multiple of num_key_value_heads " +
                                          text(config.kv_heads));
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim)
    reader.fail_with(Code::bad_input, "head_dim " + text(config.head_dim) +
                                          ": expected an even number up to " + text(kMaxHeadDim));
  if (config.experts_per_token > config.experts)
    reader.fail_with(Code::bad_input, "num_experts_per_tok " + text(config.experts_per_token) +
                                          " is more than the " + text(config.experts) +
                                          " experts of a layer");
}

/// eos_token_id: an integer or a list of them.  Leaves `out` alone when the key is absent or null.
void read_eos(ConfigReader& reader, std::size_t vocabulary, std::vector<unsigned>& out) {
  const json* value = reader.find("eos_token_id");
  if (value == nullptr || reader.failed()) return;
  const json list = value->is_array() ? *value : json::array({*value});
  std::vector<unsigned> tokens;
  for (const json& token : list) {
    if (!token.is_number_unsigned() || token.get<std::size_t>() >= vocabulary ||
        tokens.size() == kMaxEosTokens)
      return reader.fail_with(
          Code::bad_input, "key 'eos_token_id': expected up to " + std::to_string(kMaxEosTokens) +
                               " token ids below vocab_size " + std::to_string(vocabulary));
    tokens.push_back(token.get<unsigned>());
  }
  out = std::move(tokens);
}

Result<json> parse_object(const char* file, std::string_view text) {
  if (json_depth(text) > kMaxNesting)  // nlohmann's dump() and copies recurse
    return fail(Code::limit, std::string(file) + ": nested deeper than " +
                                 std::to_string(kMaxNesting) + " levels");
  json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object())
    return fail(Code::bad_input, std::string(file) + ": not a JSON object; is the file complete?");
  return object;
}

/// Empty text when the file does not exist.
Result<std::string> read_file(const std::filesystem::path& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) return std::string();
  if (error) return fail(Code::io, path.string() + ": " + error.message());
  if (size > kMaxFileBytes)
    return fail(Code::limit, path.string() + ": " + std::to_string(size) +
                                 " bytes; a configuration has at most " +
                                 std::to_string(kMaxFileBytes));
  std::ifstream in(path, std::ios::binary);
  std::string text(static_cast<std::size_t>(size), '\0');
  in.read(text.data(), static_cast<std::streamsize>(size));
  if (!in) return fail(Code::io, path.string() + ": cannot be read");
  return text;
}

}  // namespace

Result<ModelConfig> ModelConfig::parse(std::string_view config_text,
                                       std::string_view generation_text) {
  const Result<json> object = parse_object("config.json", config_text);
  if (!object) return tl::unexpected<Error>(object.error());
  ModelConfig config;
  ConfigReader reader("config.json", *object);
  read_shape(reader, config);
  read_rope(reader, config);
  check_shape(reader, config);
  read_eos(reader, config.vocabulary, config.eos_tokens);
  if (!reader.failed()) refuse_unknown_keys(*object, reader);
  if (reader.failed()) return tl::unexpected<Error>(reader.error());

  if (generation_text.empty()) return config;
  const Result<json> generation = parse_object("generation_config.json", generation_text);
  if (!generation) return tl::unexpected<Error>(generation.error());
  ConfigReader generation_reader("generation_config.json", *generation);
  read_eos(generation_reader, config.vocabulary, config.eos_tokens);
  if (generation_reader.failed()) return tl::unexpected<Error>(generation_reader.error());
  return config;
}

Result<ModelConfig> ModelConfig::load(const std::filesystem::path& directory) {
  const Result<std::string> config = read_file(directory / "config.json");
  if (!config) return tl::unexpected<Error>(config.error());
  if (config->empty())
    return fail(Code::not_found, (directory / "config.json").string() +
                                     ": missing or empty; expected a Hugging Face model directory");
  const Result<std::string> generation = read_file(directory / "generation_config.json");
  if (!generation) return tl::unexpected<Error>(generation.error());
  Result<ModelConfig> parsed = parse(*config, *generation);
  if (!parsed) return fail(directory.string(), std::move(parsed).error());
  return parsed;
}

}  // namespace wdmoe::bsd
