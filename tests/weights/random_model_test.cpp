#include "weights/random_model.h"

#include <cmath>
#include <cstring>

#include <doctest/doctest.h>

#include "tests/weights/files.h"
#include "weights/json.h"
#include "weights/mixtral_names.h"
#include "weights/model_shape.h"
#include "weights/sha256.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

TEST_CASE("random model: has every tensor of its config, in its shape") {
  RandomModel model = small_model();
  model.head_dim = 6;
  const TempFolder folder;
  REQUIRE(write_random_model(model, folder / "m"));
  const auto checkpoint = Checkpoint::open(folder / "m");
  REQUIRE(checkpoint);
  const auto shape = read_model_shape(folder / "m");
  REQUIRE(shape);
  CHECK(shape->head_dim == 6);
  CHECK(shape->experts_per_token == 2);
  CHECK(checkpoint->matrix("model.embed_tokens.weight", 300, 8));
  CHECK(checkpoint->matrix("lm_head.weight", 300, 8));
  CHECK(checkpoint->matrix("model.norm.weight", 1, 8));
  CHECK(checkpoint->matrix("model.layers.1.self_attn.q_proj.weight", 12, 8));
  CHECK(checkpoint->matrix("model.layers.1.self_attn.k_proj.weight", 6, 8));
  CHECK(checkpoint->matrix("model.layers.1.self_attn.o_proj.weight", 8, 12));
  CHECK(checkpoint->matrix(gate_name(*checkpoint, 1), 4, 8));
  CHECK(find_expert(*checkpoint, 1, 3, {8, 12}));
  CHECK(checkpoint->tensors().size() == 3 + 2 * (7 + 4 * 3));
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : checkpoint->tensors()) bytes += tensor.data.size();
  CHECK(bytes == weights_bytes(model));

  model.tied_embeddings = true;
  REQUIRE(write_random_model(model, folder / "tied"));
  CHECK(Checkpoint::open(folder / "tied")->find("lm_head.weight") == nullptr);
  CHECK(read_model_shape(folder / "tied")->tied_embeddings);
}

TEST_CASE("random model: the same spec gives the same bytes, another seed others") {
  const TempFolder folder;
  RandomModel model = small_model();
  REQUIRE(write_random_model(model, folder / "a"));
  REQUIRE(write_random_model(model, folder / "b"));
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"})
    CHECK(get(folder / "a" / file) == get(folder / "b" / file));
  // Pinned, so that a change of generator, or a machine that computes otherwise, is noticed.
  CHECK(sha256_of_file(folder / "a" / "model.safetensors") ==
        "1eaf77148e0499ae5eb6871a1480e1d24d312dba110a1cef154e768f9ae3a614");
  model.seed = 2;
  REQUIRE(write_random_model(model, folder / "c"));
  CHECK(get(folder / "a" / "model.safetensors") != get(folder / "c" / "model.safetensors"));
}

TEST_CASE("random model: weights have mean 0 and variance 1 / fan-in") {
  const TempFolder folder;
  RandomModel model = small_model();
  model.hidden = 256;
  model.ffn = 300;
  model.dtype = DType::f32;
  REQUIRE(write_random_model(model, folder / "m"));
  const auto checkpoint = Checkpoint::open(folder / "m");
  const auto expert = find_expert(*checkpoint, 0, 0, {256, 300});
  REQUIRE(expert);
  double sum = 0, squares = 0;
  const std::size_t count = 256 * 300;
  for (std::size_t i = 0; i < count; ++i) {
    float value = 0;
    std::memcpy(&value, expert->gate.data + 4 * i, 4);
    sum += value;
    squares += double{value} * value;
  }
  // Standard errors: of the mean 1/sqrt(256 · 76800), of the variance relatively sqrt(0.8/76800).
  CHECK(std::fabs(sum / count) < 5 / std::sqrt(256.0 * count));
  CHECK(squares / count * 256 == doctest::Approx(1).epsilon(5 * std::sqrt(0.8 / count)));
}

TEST_CASE("random model: impossible shapes are refused, naming the option") {
  struct Case {
    const char* word;
    void (*spoil)(RandomModel&);
  };
  const Case cases[] = {
      {"--hidden", [](RandomModel& m) { m.hidden = 0; }},
      {"--hidden", [](RandomModel& m) { m.hidden = std::size_t{1} << 40; }},
      {"--ffn", [](RandomModel& m) { m.ffn = 0; }},
      {"--layers", [](RandomModel& m) { m.layers = 0; }},
      {"--experts", [](RandomModel& m) { m.experts = 0; }},
      {"--top-k", [](RandomModel& m) { m.experts_per_token = 5; }},
      {"--top-k", [](RandomModel& m) { m.experts_per_token = 0; }},
      {"--heads", [](RandomModel& m) { m.heads = 0; }},
      {"--heads", [](RandomModel& m) { m.heads = 3; }},
      {"--kv-heads", [](RandomModel& m) { m.kv_heads = 0; }},
      {"--kv-heads", [](RandomModel& m) { m.heads = 4, m.kv_heads = 3; }},
      {"--head-dim", [](RandomModel& m) { m.head_dim = 5; }},
      {"--head-dim", [](RandomModel& m) { m.hidden = 6; }},  // 6 / 2 heads = 3
      {"--vocab", [](RandomModel& m) { m.vocabulary = 258; }},
      {"--rope-theta", [](RandomModel& m) { m.rope_theta = std::nan(""); }},
  };
  for (const Case& c : cases) {
    RandomModel model = small_model();
    c.spoil(model);
    const auto checked = check(model);
    CAPTURE(c.word);
    REQUIRE_FALSE(checked);
    CHECK(mentions(checked.error(), c.word));
  }
  CHECK(check(RandomModel{}));
}

TEST_CASE("byte tokenizer: every id once, every byte a token") {
  const auto document = parse_json(byte_tokenizer_json(1000));
  REQUIRE(document);  // no duplicate keys: the tokens are distinct
  const auto& vocabulary = (*document)["model"]["vocab"];
  REQUIRE(vocabulary.MemberCount() == 1000);
  std::vector<bool> seen(1000, false);
  for (const auto& token : vocabulary.GetObject()) seen.at(token.value.GetUint()) = true;
  CHECK(std::count(seen.begin(), seen.end(), true) == 1000);
  CHECK(vocabulary["a"].GetUint() == 3 + 'a');
  CHECK(vocabulary["\xc4\xa0"].GetUint() == 3 + ' ');   // U+0120
  CHECK(vocabulary["\xc4\x80"].GetUint() == 3);         // byte 0 is U+0100
  CHECK(vocabulary["\xc5\x83"].GetUint() == 3 + 0xad);  // the last one without a letter: U+0143
}
