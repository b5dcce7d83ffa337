#include "tests/support/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <stdexcept>
#include <vector>

#include <nlohmann/json.hpp>

namespace wdmoe::test {
namespace {

using nlohmann::json;

/// Uniform in (-scale, scale), the same on every machine (no std distribution).
float next(std::mt19937& random, float scale) {
  return (static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f) * scale;
}

}  // namespace

bsd::ModelConfig TinyModel::default_shape() {
  bsd::ModelConfig config;
  config.vocabulary = 50;
  config.hidden = 24;
  config.ffn = 20;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 6;
  config.experts = 4;
  config.experts_per_token = 2;
  config.max_positions = 4096;
  config.rope_theta = 1e4;
  return config;
}

TinyModel::TinyModel(const bsd::ModelConfig& config, std::uint32_t seed)
    : config_(config), seed_(seed) {
  const auto add = [&](const std::string& name, std::size_t rows, std::size_t cols) {
    tensors_.push_back({name, rows, cols});
  };
  add("model.embed_tokens.weight", config.vocabulary, config.hidden);
  add("model.norm.weight", 0, config.hidden);
  if (!config.tied_embeddings) add("lm_head.weight", config.vocabulary, config.hidden);
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    add(prefix + "input_layernorm.weight", 0, config.hidden);
    add(prefix + "post_attention_layernorm.weight", 0, config.hidden);
    add(prefix + "self_attn.q_proj.weight", config.heads * config.head_dim, config.hidden);
    add(prefix + "self_attn.k_proj.weight", config.kv_heads * config.head_dim, config.hidden);
    add(prefix + "self_attn.v_proj.weight", config.kv_heads * config.head_dim, config.hidden);
    add(prefix + "self_attn.o_proj.weight", config.hidden, config.heads * config.head_dim);
    add(prefix + "block_sparse_moe.gate.weight", config.experts, config.hidden);
    for (std::size_t expert = 0; expert < config.experts; ++expert) {
      const std::string e = prefix + "block_sparse_moe.experts." + std::to_string(expert) + ".";
      add(e + "w1.weight", config.ffn, config.hidden);
      add(e + "w2.weight", config.hidden, config.ffn);
      add(e + "w3.weight", config.ffn, config.hidden);
    }
  }
  write_config();
  write_weights();
}

void TinyModel::add_tensor(const std::string& name, std::size_t rows, std::size_t cols) {
  tensors_.push_back({name, rows, cols});
  write_weights();
}

void TinyModel::remove_tensor(const std::string& name) {
  tensors_.erase(std::remove_if(tensors_.begin(), tensors_.end(),
                                [&](const Named& t) { return t.name == name; }),
                 tensors_.end());
  write_weights();
}

void TinyModel::write_config() const {
  json config = {{"model_type", "mixtral"},
                 {"vocab_size", config_.vocabulary},
                 {"hidden_size", config_.hidden},
                 {"intermediate_size", config_.ffn},
                 {"num_hidden_layers", config_.layers},
                 {"num_attention_heads", config_.heads},
                 {"num_key_value_heads", config_.kv_heads},
                 {"head_dim", config_.head_dim},
                 {"num_local_experts", config_.experts},
                 {"num_experts_per_tok", config_.experts_per_token},
                 {"max_position_embeddings", config_.max_positions},
                 {"rope_theta", config_.rope_theta},
                 {"tie_word_embeddings", config_.tied_embeddings},
                 {"eos_token_id", config_.eos_tokens}};
  if (config_.sliding_window != 0) config["sliding_window"] = config_.sliding_window;
  std::ofstream(folder_ / "config.json") << config.dump();
}

void TinyModel::write_weights() const {
  std::mt19937 random(seed_);
  json header;
  std::vector<float> data;
  for (const Named& tensor : tensors_) {
    const std::size_t begin = data.size();
    const std::size_t rows = std::max<std::size_t>(tensor.rows, 1);  // 0 rows: one dimension
    const float scale = std::sqrt(3.0f / static_cast<float>(tensor.cols));
    for (std::size_t i = 0; i < rows * tensor.cols; ++i)
      data.push_back(tensor.rows == 0 ? 1.0f + next(random, 0.2f) : next(random, scale));
    json shape =
        tensor.rows == 0 ? json::array({tensor.cols}) : json::array({tensor.rows, tensor.cols});
    header[tensor.name] = {{"dtype", "F32"},
                           {"shape", std::move(shape)},
                           {"data_offsets", {begin * 4, data.size() * 4}}};
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  std::filesystem::remove(folder_ / "model.safetensors");  // earlier mappings keep the old file
  std::ofstream file(folder_ / "model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof length);
  file << text;
  file.write(reinterpret_cast<const char*>(data.data()),
             static_cast<std::streamsize>(data.size() * sizeof(float)));
  if (!file) throw std::runtime_error("cannot write " + path().string());
}

}  // namespace wdmoe::test
