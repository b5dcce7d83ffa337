#include "bsd/model/model_config.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace wdmoe;
using namespace wdmoe::bsd;
using nlohmann::json;

namespace {

/// As transformers v4 writes Mixtral-8x7B's, every key of it.
json mixtral() {
  return json::parse(R"({
    "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral",
    "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": false,
    "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02,
    "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000})");
}

std::string error_of(const json& config, const std::string& generation = "") {
  const auto parsed = ModelConfig::parse(config.dump(), generation);
  return parsed ? "" : parsed.error().text;
}

struct Case {
  const char* key;
  json value;
};

/// Mixtral with this one key is refused with `code` and one line that names the key.
void check_refused(const Case& c, Code code) {
  CAPTURE(c.key);
  CAPTURE(c.value);
  json config = mixtral();
  config[c.key] = c.value;
  const auto parsed = ModelConfig::parse(config.dump(), "");
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().code == code);
  CHECK(parsed.error().text.find(c.key) != std::string::npos);
  CHECK(parsed.error().text.find('\n') == std::string::npos);
  CHECK(parsed.error().text.size() < 300);
}

}  // namespace

TEST_CASE("model config: reads what Mixtral-8x7B ships") {
  const auto config = ModelConfig::parse(mixtral().dump(), "");
  REQUIRE(config);
  CHECK(config->vocabulary == 32000);
  CHECK(config->hidden == 4096);
  CHECK(config->ffn == 14336);
  CHECK(config->layers == 32);
  CHECK(config->heads == 32);
  CHECK(config->kv_heads == 8);
  CHECK(config->head_dim == 128);
  CHECK(config->experts == 8);
  CHECK(config->experts_per_token == 2);
  CHECK(config->max_positions == 32768);
  CHECK(config->sliding_window == 0);
  CHECK(config->rope_theta == 1e6);
  CHECK(config->rms_norm_epsilon == 1e-5f);
  CHECK_FALSE(config->tied_embeddings);
  CHECK(config->eos_tokens == std::vector<unsigned>{2});
}

TEST_CASE("model config: accepts the other spellings of the same model") {
  json v5 = mixtral();
  v5.erase("rope_theta");
  v5.erase("torch_dtype");
  v5["dtype"] = "float32";
  v5["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 12345.0}};
  v5["head_dim"] = 96;
  v5["sliding_window"] = 77;
  v5["eos_token_id"] = {2, 5};
  v5["num_key_value_heads"] = nullptr;
  v5["num_experts"] = v5["num_local_experts"];
  v5.erase("num_local_experts");
  const auto config = ModelConfig::parse(v5.dump(), "");
  REQUIRE(config);
  CHECK(config->rope_theta == 12345.0);
  CHECK(config->head_dim == 96);
  CHECK(config->sliding_window == 77);
  CHECK(config->kv_heads == 32);
  CHECK(config->experts == 8);
  CHECK(config->eos_tokens == std::vector<unsigned>{2, 5});
}

TEST_CASE("model config: generation_config.json overrides the end tokens") {
  const auto tokens = [](const std::string& generation) {
    return ModelConfig::parse(mixtral().dump(), generation).value().eos_tokens;
  };
  CHECK(tokens(R"({"eos_token_id": [7, 9]})") == std::vector<unsigned>{7, 9});
  CHECK(tokens(R"({"eos_token_id": 3, "top_p": 0.9})") == std::vector<unsigned>{3});
  CHECK(tokens(R"({"eos_token_id": null})") == std::vector<unsigned>{2});
  CHECK(tokens(R"({})") == std::vector<unsigned>{2});
  CHECK(error_of(mixtral(), "{").find("generation_config.json") == 0);
}

TEST_CASE("model config: a key that would change the maths fails the load by name") {
  const Case cases[] = {
      {"model_type", "qwen3_moe"},
      {"architectures", {"MixtralForSequenceClassification"}},
      {"hidden_act", "gelu"},
      {"attention_bias", true},
      {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
      {"rope_scaling", {{"rope_type", "yarn"}}},
      {"rope_scaling", {{"factor", 2.0}}},
      {"rope_parameters", {{"rope_type", "llama3"}, {"rope_theta", 1e4}}},
      {"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}},
      {"partial_rotary_factor", 0.5},
      {"quantization_config", {{"quant_method", "awq"}}},
      {"layer_types", {"sliding_attention"}},
      {"logit_softcapping", 30.0},
      {"auto_map", {{"AutoModel", "x.Y"}}},
      {"never_heard_of", 1},
  };
  for (const Case& c : cases) check_refused(c, Code::unsupported);
}

TEST_CASE("model config: a feature that is switched off stops nobody") {
  for (const json& off : {json(nullptr), json(false), json::array(), json::object()}) {
    json config = mixtral();
    config["some_new_feature"] = off;
    CHECK(error_of(config) == "");
  }
  json plain = mixtral();
  plain["rope_scaling"] = {{"rope_type", "default"}};
  plain["attention_bias"] = false;
  plain["partial_rotary_factor"] = 1;
  CHECK(error_of(plain) == "");
}

TEST_CASE("model config: impossible values are one-line errors naming the key") {
  const Case cases[] = {
      {"num_attention_heads", 0},
      {"num_attention_heads", 31},
      {"num_key_value_heads", 0},
      {"num_key_value_heads", 5},
      {"num_experts_per_tok", 9},
      {"num_experts_per_tok", 0},
      {"num_local_experts", 0},
      {"num_local_experts", 1e9},
      {"head_dim", 63},
      {"head_dim", 0},
      {"head_dim", 1 << 20},
      {"hidden_size", -4},
      {"hidden_size", 18446744073709551615ull},
      {"hidden_size", "4096"},
      {"hidden_size", 4096.5},
      {"hidden_size", nullptr},
      {"vocab_size", 0},
      {"num_hidden_layers", 1 << 30},
      {"intermediate_size", 0},
      {"rms_norm_eps", -1e-5},
      {"rms_norm_eps", "small"},
      {"rope_theta", 0},
      {"sliding_window", 0},
      {"sliding_window", "no"},
      {"tie_word_embeddings", 1},
      {"max_position_embeddings", 0},
      {"eos_token_id", 32000},
      {"eos_token_id", "</s>"},
      {"eos_token_id", {1, -1}},
      {"rope_parameters", 3},
  };
  for (const Case& c : cases) check_refused(c, Code::bad_input);
}

TEST_CASE("model config: text that is no configuration is refused") {
  CHECK_FALSE(ModelConfig::parse("", ""));
  CHECK_FALSE(ModelConfig::parse("[1, 2]", ""));
  CHECK_FALSE(ModelConfig::parse("{\"hidden_size\": ", ""));
  CHECK_FALSE(ModelConfig::parse(std::string(500'000, '['), ""));
  std::string deep = mixtral().dump();
  deep.insert(1, "\"x\":" + std::string(1000, '[') + std::string(1000, ']') + ",");
  CHECK_FALSE(ModelConfig::parse(deep, ""));
  CHECK_FALSE(ModelConfig::parse("{\"\xff\xfe\": 1}", ""));
  const std::string whole = mixtral().dump();
  for (std::size_t length = 0; length < whole.size(); ++length)
    CHECK_FALSE(ModelConfig::parse(whole.substr(0, length), ""));
}

TEST_CASE("model config: a directory without config.json says what was expected") {
  const auto loaded = ModelConfig::load("/nonexistent-model");
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == Code::not_found);
  CHECK(loaded.error().text.find("/nonexistent-model/config.json") != std::string::npos);
}
