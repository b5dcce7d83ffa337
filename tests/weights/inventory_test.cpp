#include "weights/inventory.h"

#include <doctest/doctest.h>

#include "tests/weights/files.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

TEST_CASE("inventory: the parts add up to the whole, and each is what its shape says") {
  const TempFolder folder;
  const RandomModel model = small_model();
  REQUIRE(write_random_model(model, folder / "m"));
  const auto inventory = take_inventory(*Checkpoint::open(folder / "m"));
  Amount sum;
  for (const auto& [part, amount] : inventory.parts) {
    sum.tensors += amount.tensors;
    sum.parameters += amount.parameters;
    sum.bytes += amount.bytes;
  }
  CHECK(sum.tensors == inventory.total.tensors);
  CHECK(sum.parameters == inventory.total.parameters);
  CHECK(inventory.total.bytes == weights_bytes(model));
  CHECK(inventory.parts.at(Part::expert).parameters == 2 * 4 * 3 * 8 * 12);
  CHECK(inventory.parts.at(Part::gate).parameters == 2 * 4 * 8);
  CHECK(inventory.parts.at(Part::embedding).parameters == 300 * 8);
  CHECK(inventory.parts.at(Part::norm).parameters == 5 * 8);
  CHECK(inventory.parts.count(Part::other) == 0);
  CHECK(inventory.dtypes.at("F16").bytes == inventory.total.bytes);
}

TEST_CASE("inventory: names of both layouts fall into their parts") {
  CHECK(part_of("model.layers.0.mlp.experts.gate_up_proj") == Part::expert);
  CHECK(part_of("model.layers.0.mlp.gate.weight") == Part::gate);
  CHECK(part_of("model.layers.0.block_sparse_moe.experts.3.w1.weight") == Part::expert);
  CHECK(part_of("model.layers.0.post_attention_layernorm.weight") == Part::norm);
  CHECK(part_of("lm_head.weight") == Part::head);
  CHECK(part_of("something.else") == Part::other);
}

TEST_CASE("tokenizer_kind: tells what lies beside the weights") {
  const TempFolder folder;
  CHECK(tokenizer_kind(folder.path()) == "none");
  put(folder / "tokenizer.model", "x");
  CHECK(tokenizer_kind(folder.path()) == "SentencePiece model");
  put(folder / "tokenizer.json", byte_tokenizer_json(300));
  CHECK(tokenizer_kind(folder.path()) == "BPE, byte-level, 300 tokens");
  put(folder / "tokenizer.json", R"({"model":{"type":"BPE","byte_fallback":true,"vocab":{}}})");
  CHECK(tokenizer_kind(folder.path()) == "BPE, byte fallback, 0 tokens");
  for (const char* odd : {"[", "{}", R"({"model":1})", R"({"pre_tokenizer":[],"model":{}})"}) {
    put(folder / "tokenizer.json", odd);
    CHECK_FALSE(tokenizer_kind(folder.path()).empty());
  }
}
