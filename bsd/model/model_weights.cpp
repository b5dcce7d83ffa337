#include "bsd/model/model_weights.h"

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "weights/mixtral_names.h"

namespace wdmoe::bsd {
namespace {

/// The parts of an expert in either layout; devices hold them, the base station does not.
bool is_expert_part(std::string_view name) {
  if (name.find(".experts.") == std::string_view::npos) return false;
  for (const std::string_view end :
       {".w1.weight", ".w2.weight", ".w3.weight", ".gate_up_proj", ".down_proj"})
    if (name.ends_with(end)) return true;
  return false;
}

/// Looks tensors up, remembers which were used and keeps the first error.
class Finder {
 public:
  explicit Finder(const weights::Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  Tensor matrix(const std::string& name, std::size_t rows, std::size_t cols) {
    used_.insert(name);
    if (error_) return {};
    Result<Tensor> found = checkpoint_.matrix(name, rows, cols);
    if (found) return *found;
    error_ = std::move(found).error();
    return {};
  }

  /// Fails on a tensor that nothing asked for, unless it is an expert's or known to be of no use.
  void refuse_leftovers() {
    if (error_) return;
    for (const auto& [name, tensor] : checkpoint_.tensors()) {
      if (used_.count(name) != 0 || is_expert_part(name)) continue;
      if (name.find("rotary_emb.inv_freq") != std::string::npos) continue;  // computed from theta
      if (name == "lm_head.weight") continue;  // written beside a tied embedding by some tools
      error_ = Error{Code::unsupported, "tensor '" + name.substr(0, 100) +
                                            "' is no part of a Mixtral model; leaving it out "
                                            "would change the maths"};
      return;
    }
  }

  std::optional<Error>& error() { return error_; }

 private:
  const weights::Checkpoint& checkpoint_;
  std::set<std::string> used_;
  std::optional<Error> error_;
};

LayerWeights find_layer(Finder& find, const weights::Checkpoint& checkpoint,
                        const ModelConfig& config, std::size_t layer) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const std::size_t hidden = config.hidden;
  const std::size_t query_size = config.heads * config.head_dim;
  const std::size_t key_size = config.kv_heads * config.head_dim;
  LayerWeights weights;
  weights.attention_norm = find.matrix(prefix + "input_layernorm.weight", 1, hidden);
  weights.query = find.matrix(prefix + "self_attn.q_proj.weight", query_size, hidden);
  weights.key = find.matrix(prefix + "self_attn.k_proj.weight", key_size, hidden);
  weights.value = find.matrix(prefix + "self_attn.v_proj.weight", key_size, hidden);
  weights.output = find.matrix(prefix + "self_attn.o_proj.weight", hidden, query_size);
  weights.expert_norm = find.matrix(prefix + "post_attention_layernorm.weight", 1, hidden);
  weights.gate = find.matrix(weights::gate_name(checkpoint, layer), config.experts, hidden);
  return weights;
}

}  // namespace

Result<ModelWeights> ModelWeights::find(const weights::Checkpoint& checkpoint,
                                        const ModelConfig& config) {
  Finder finder(checkpoint);
  ModelWeights weights;
  weights.embedding = finder.matrix("model.embed_tokens.weight", config.vocabulary, config.hidden);
  weights.final_norm = finder.matrix("model.norm.weight", 1, config.hidden);
  weights.head = config.tied_embeddings
                     ? weights.embedding
                     : finder.matrix("lm_head.weight", config.vocabulary, config.hidden);
  for (std::size_t layer = 0; layer < config.layers && !finder.error(); ++layer)
    weights.layers.push_back(find_layer(finder, checkpoint, config, layer));
  finder.refuse_leftovers();
  if (finder.error()) return fail(checkpoint.path().string(), std::move(*finder.error()));
  return weights;
}

}  // namespace wdmoe::bsd
