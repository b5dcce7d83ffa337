#include "weights/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <system_error>
#include <vector>

#include "weights/json.h"
#include "weights/mixtral_names.h"
#include "weights/safetensors_writer.h"

namespace wdmoe::weights {
namespace {

constexpr std::size_t kElementsAtOnce = std::size_t{1}
                                        << 19;  // elements made and written at a time

std::size_t head_dim_of(const RandomModel& model) {
  return model.head_dim != 0 ? model.head_dim : model.hidden / model.heads;
}

/// One tensor to make: uniform in ±bound, or all ones when bound is 0 (norms).
struct Recipe {
  std::string name;
  std::vector<std::uint64_t> shape;
  float bound;
};

/// Uniform in ±sqrt(3)·deviation has that standard deviation.  sqrt rounds the same everywhere.
float bound_for(std::size_t fan_in) {
  return static_cast<float>(std::sqrt(3.0 / static_cast<double>(fan_in)));
}

void add_layer(const RandomModel& model, std::size_t layer, std::vector<Recipe>& recipes) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const std::size_t hidden = model.hidden, query = model.heads * head_dim_of(model),
                    key = model.kv_heads * head_dim_of(model);
  recipes.push_back({prefix + "input_layernorm.weight", {hidden}, 0});
  recipes.push_back({prefix + "self_attn.q_proj.weight", {query, hidden}, bound_for(hidden)});
  recipes.push_back({prefix + "self_attn.k_proj.weight", {key, hidden}, bound_for(hidden)});
  recipes.push_back({prefix + "self_attn.v_proj.weight", {key, hidden}, bound_for(hidden)});
  recipes.push_back({prefix + "self_attn.o_proj.weight", {hidden, query}, bound_for(query)});
  recipes.push_back({prefix + "post_attention_layernorm.weight", {hidden}, 0});
  recipes.push_back(
      {prefix + "block_sparse_moe.gate.weight", {model.experts, hidden}, bound_for(hidden)});
  for (std::size_t expert = 0; expert < model.experts; ++expert) {
    const ExpertNames names = expert_names(layer, expert);
    recipes.push_back({names.gate, {model.ffn, hidden}, bound_for(hidden)});
    recipes.push_back({names.down, {hidden, model.ffn}, bound_for(model.ffn)});
    recipes.push_back({names.up, {model.ffn, hidden}, bound_for(hidden)});
  }
}

std::vector<Recipe> recipes_for(const RandomModel& model) {
  std::vector<Recipe> recipes;
  // A tied table is also the LM head, whose rows must keep logits near one.
  recipes.push_back({"model.embed_tokens.weight",
                     {model.vocabulary, model.hidden},
                     bound_for(model.tied_embeddings ? model.hidden : 1)});
  for (std::size_t layer = 0; layer < model.layers; ++layer) add_layer(model, layer, recipes);
  recipes.push_back({"model.norm.weight", {model.hidden}, 0});
  if (!model.tied_embeddings)
    recipes.push_back(
        {"lm_head.weight", {model.vocabulary, model.hidden}, bound_for(model.hidden)});
  return recipes;
}

/// SplitMix64's finaliser: neighbouring counters give unrelated bits.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// Element `index` of stream `key`: uniform in [-bound, bound).  Every step but the last product is
/// exact, so machines with and without fused multiply-add agree.
float uniform(std::uint64_t key, std::uint64_t index, float bound) {
  const std::uint64_t bits = mix(key + (index + 1) * 0x9e3779b97f4a7c15u) >> 40;
  return (static_cast<float>(bits) * 0x1p-23f - 1.0f) * bound;
}

/// One stream per tensor, chosen by its name: shapes of other tensors do not change it.
std::uint64_t stream_key(std::uint64_t seed, const std::string& name) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return mix(hash ^ mix(seed));
}

/// Little-endian elements of one dtype.
void store(float value, DType dtype, std::byte* to) {
  if (dtype == DType::f32) {
    std::memcpy(to, &value, sizeof value);
    return;
  }
  const std::uint16_t bits = dtype == DType::f16 ? f16_from_float(value) : bf16_from_float(value);
  std::memcpy(to, &bits, sizeof bits);
}

class WeightsStream {
 public:
  WeightsStream(const RandomModel& model, const Progress& progress)
      : model_(model), progress_(progress), total_(weights_bytes(model)) {}

  Result<void> write(const Recipe& recipe, SafetensorsWriter& writer) {
    const std::uint64_t count = *element_count(recipe.shape),
                        key = stream_key(model_.seed, recipe.name);
    const std::size_t step = bytes_of(model_.dtype);
    buffer_.resize(kElementsAtOnce * step);
    for (std::uint64_t first = 0; first < count; first += kElementsAtOnce) {
      const auto piece =
          static_cast<std::size_t>(std::min<std::uint64_t>(kElementsAtOnce, count - first));
      for (std::size_t i = 0; i < piece; ++i)
        store(recipe.bound == 0 ? 1.0f : uniform(key, first + i, recipe.bound), model_.dtype,
              buffer_.data() + i * step);
      WDMOE_TRY(writer.append({buffer_.data(), piece * step}));
      done_ += piece * step;
      if (progress_) progress_(done_, total_);
    }
    return {};
  }

 private:
  const RandomModel& model_;
  const Progress& progress_;
  std::uint64_t total_, done_ = 0;
  std::vector<std::byte> buffer_;
};

Result<void> write_weights(const RandomModel& model, const std::filesystem::path& path,
                           const Progress& progress) {
  const std::vector<Recipe> recipes = recipes_for(model);
  std::vector<TensorEntry> entries;
  for (const Recipe& recipe : recipes)
    entries.push_back(
        {recipe.name, std::string(safetensors_name(model.dtype)), recipe.shape, 0, 0});
  auto writer = SafetensorsWriter::create(path, entries, {{"format", "pt"}});
  if (!writer) return tl::unexpected(std::move(writer).error());
  WeightsStream stream(model, progress);
  for (const Recipe& recipe : recipes) WDMOE_TRY(stream.write(recipe, *writer));
  auto finished = writer->finish();
  if (!finished) return tl::unexpected(std::move(finished).error());
  return {};
}

using PrettyWriter = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void number(PrettyWriter& writer, const char* key, std::size_t value) {
  writer.Key(key);
  writer.Uint64(value);
}

void text(PrettyWriter& writer, const char* key, const char* value) {
  writer.Key(key);
  writer.String(value);
}

const char* torch_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::f16:
      return "float16";
    case DType::bf16:
      return "bfloat16";
  }
  return "float32";
}

std::string config_json(const RandomModel& model) {
  rapidjson::StringBuffer buffer;
  PrettyWriter writer(buffer);
  writer.SetIndent(' ', 2);
  writer.StartObject();
  writer.Key("architectures");
  writer.StartArray();
  writer.String("MixtralForCausalLM");
  writer.EndArray();
  text(writer, "model_type", "mixtral");
  text(writer, "torch_dtype", torch_name(model.dtype));
  text(writer, "hidden_act", "silu");
  number(writer, "vocab_size", model.vocabulary);
  number(writer, "hidden_size", model.hidden);
  number(writer, "intermediate_size", model.ffn);
  number(writer, "num_hidden_layers", model.layers);
  number(writer, "num_attention_heads", model.heads);
  number(writer, "num_key_value_heads", model.kv_heads);
  number(writer, "head_dim", head_dim_of(model));
  number(writer, "num_local_experts", model.experts);
  number(writer, "num_experts_per_tok", model.experts_per_token);
  number(writer, "max_position_embeddings", model.max_positions);
  number(writer, "bos_token_id", 1);
  number(writer, "eos_token_id", 2);
  writer.Key("sliding_window");
  if (model.sliding_window == 0)
    writer.Null();
  else
    writer.Uint64(model.sliding_window);
  writer.Key("rms_norm_eps");
  writer.Double(1e-5);
  writer.Key("rope_theta");
  writer.Double(model.rope_theta);
  writer.Key("attention_dropout");
  writer.Double(0.0);
  writer.Key("tie_word_embeddings");
  writer.Bool(model.tied_embeddings);
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

Result<void> within(const char* option, std::size_t value, std::size_t least, std::size_t most) {
  if (value >= least && value <= most) return {};
  return fail(Code::bad_input, std::string(option) + " " + std::to_string(value) +
                                   ": expected a number from " + std::to_string(least) + " to " +
                                   std::to_string(most));
}

Result<void> check_heads(const RandomModel& model) {
  const auto bad = [](const std::string& text) { return fail(Code::bad_input, text); };
  if (model.heads % model.kv_heads != 0)
    return bad("--kv-heads " + std::to_string(model.kv_heads) + ": must divide --heads " +
               std::to_string(model.heads));
  if (model.head_dim == 0 && model.hidden % model.heads != 0)
    return bad("--heads " + std::to_string(model.heads) + ": must divide --hidden " +
               std::to_string(model.hidden) + ", or pass --head-dim");
  if (head_dim_of(model) % 2 != 0)
    return bad("--head-dim " + std::to_string(head_dim_of(model)) +
               ": must be even, because RoPE turns pairs");
  return {};
}

constexpr const char* kTokenizerConfig = R"({
  "tokenizer_class": "PreTrainedTokenizerFast",
  "model_max_length": 32768,
  "clean_up_tokenization_spaces": false,
  "bos_token": "<s>",
  "eos_token": "</s>",
  "unk_token": "<unk>"
}
)";

constexpr const char* kGenerationConfig = R"({
  "bos_token_id": 1,
  "eos_token_id": 2
}
)";

}  // namespace

Result<void> check(const RandomModel& model) {
  namespace limits = shape_limits;
  WDMOE_TRY(within("--hidden", model.hidden, 1, limits::kHidden));
  WDMOE_TRY(within("--ffn", model.ffn, 1, limits::kFfn));
  WDMOE_TRY(within("--layers", model.layers, 1, limits::kLayers));
  WDMOE_TRY(within("--experts", model.experts, 1, limits::kExperts));
  WDMOE_TRY(within("--top-k", model.experts_per_token, 1, model.experts));
  WDMOE_TRY(within("--heads", model.heads, 1, limits::kHeads));
  WDMOE_TRY(within("--kv-heads", model.kv_heads, 1, model.heads));
  WDMOE_TRY(within("--head-dim", model.head_dim, 0, limits::kHeadDim));
  WDMOE_TRY(within("--vocab", model.vocabulary, kLeastVocabulary, limits::kVocabulary));
  WDMOE_TRY(within("--max-positions", model.max_positions, 1, std::size_t{1} << 24));
  WDMOE_TRY(within("--sliding-window", model.sliding_window, 0, std::size_t{1} << 24));
  if (!(model.rope_theta >= 1 && model.rope_theta <= 1e12))
    return fail(Code::bad_input, "--rope-theta: expected a number from 1 to 1e12");
  return check_heads(model);
}

std::uint64_t weights_bytes(const RandomModel& model) {
  std::uint64_t elements = 0;
  for (const Recipe& recipe : recipes_for(model)) elements += *element_count(recipe.shape);
  return elements * bytes_of(model.dtype);
}

Result<void> write_random_model(const RandomModel& model, const std::filesystem::path& out,
                                bool force, const Progress& progress) {
  WDMOE_TRY(check(model));
  WDMOE_TRY(check_space(out, weights_bytes(model)));
  WDMOE_TRY(prepare_output(out, force));
  WDMOE_TRY(write_text(out / "tokenizer.json", byte_tokenizer_json(model.vocabulary)));
  WDMOE_TRY(write_text(out / "tokenizer_config.json", kTokenizerConfig));
  WDMOE_TRY(write_text(out / "generation_config.json", kGenerationConfig));
  WDMOE_TRY(write_weights(model, out / "model.safetensors", progress));
  return write_text(out / "config.json", config_json(model));  // last: marks the directory whole
}

}  // namespace wdmoe::weights
