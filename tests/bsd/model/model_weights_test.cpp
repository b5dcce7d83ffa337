#include "bsd/model/model_weights.h"

#include <doctest/doctest.h>

#include "tests/support/tiny_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

Result<ModelWeights> find(const test::TinyModel& model) {
  const ModelConfig config = ModelConfig::load(model.path()).value();
  return ModelWeights::find(weights::Checkpoint::open(model.path()).value(), config);
}

}  // namespace

TEST_CASE("model weights: finds every tensor in its shape") {
  const test::TinyModel model;
  const auto found = find(model);
  REQUIRE(found);
  CHECK(found->layers.size() == 2);
  CHECK(found->embedding.rows == 50);
  CHECK(found->final_norm.cols == 24);
  CHECK(found->layers[1].key.rows == 12);
  CHECK(found->layers[1].gate.rows == 4);
  CHECK(found->head.data != found->embedding.data);
}

TEST_CASE("model weights: a tied head is the embedding") {
  ModelConfig shape = test::TinyModel::default_shape();
  shape.tied_embeddings = true;
  const test::TinyModel model(shape);
  const auto found = find(model);
  REQUIRE(found);
  CHECK(found->head.data == found->embedding.data);
}

TEST_CASE("model weights: a missing or strange tensor fails the load by name") {
  for (const char* name :
       {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
        "model.layers.1.self_attn.v_proj.weight", "model.layers.0.block_sparse_moe.gate.weight"}) {
    CAPTURE(name);
    test::TinyModel model;
    model.remove_tensor(name);
    const auto found = find(model);
    REQUIRE_FALSE(found);
    CHECK(found.error().text.find(name) != std::string::npos);
  }
  for (const char* name :
       {"model.layers.0.self_attn.q_proj.bias", "model.layers.2.input_layernorm.weight",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.0.block_sparse_moe.experts.0.w1.bias",
        "model.layers.0.mlp.experts.gate_up_proj_bias"}) {
    CAPTURE(name);
    test::TinyModel model;
    model.add_tensor(name, 0, 24);
    const auto found = find(model);
    REQUIRE_FALSE(found);
    CHECK(found.error().code == Code::unsupported);
    CHECK(found.error().text.find(name) != std::string::npos);
  }
}
