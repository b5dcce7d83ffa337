#pragma once
// A Mixtral checkpoint of any size with random weights and a byte-level tokenizer: for speed work,
// where only the shapes matter, and for tests.  Same spec, same bytes, on every machine.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "common/result.h"
#include "common/tensor.h"
#include "weights/split.h"

namespace wdmoe::weights {

struct RandomModel {
  std::size_t hidden = 512, ffn = 1792, layers = 8;
  std::size_t experts = 8, experts_per_token = 2;
  std::size_t heads = 8, kv_heads = 4;
  std::size_t head_dim = 0;  ///< 0: hidden / heads
  std::size_t vocabulary = 8192;
  std::size_t max_positions = 32768;
  std::size_t sliding_window = 0;  ///< 0: none
  double rope_theta = 1e6;
  bool tied_embeddings = false;
  DType dtype = DType::f16;
  std::uint64_t seed = 1;
};

/// Smallest vocabulary: 3 special tokens and the 256 bytes.
constexpr std::size_t kLeastVocabulary = 259;

/// bad_input names the option and what it must be.
Result<void> check(const RandomModel& model);

/// Bytes of all weights.  Requires check().
std::uint64_t weights_bytes(const RandomModel& model);

/// Writes config.json, model.safetensors (v4 names), tokenizer.json, tokenizer_config.json and
/// generation_config.json to `out`, streaming.  Weights are uniform with standard deviation
/// 1/sqrt(fan-in), so that activations keep the size of one row's norm and fit f16 at any depth.
Result<void> write_random_model(const RandomModel& model, const std::filesystem::path& out,
                                bool force = false, const Progress& progress = {});

/// tokenizer.json: ids 0 <unk>, 1 <s>, 2 </s>, 3…258 the bytes 0…255, then " t259", " t260", …
/// which no text encodes to (there are no merges) but which decode to something readable.
std::string byte_tokenizer_json(std::size_t vocabulary);

}  // namespace wdmoe::weights
