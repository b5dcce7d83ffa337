#pragma once
// tests/golden/models/*: tiny Mixtral checkpoints and what transformers (f32) makes of them.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bsd/model/model_config.h"
#include "bsd/request.h"
#include "common/tensor.h"
#include "weights/checkpoint.h"

namespace wdmoe::test {

struct GoldenPrompt {
  std::vector<bsd::Token> tokens, greedy;
  Tensor logits;  ///< f32 [tokens, vocabulary]
};

struct GoldenModel {
  std::filesystem::path path;
  weights::Checkpoint logits;  ///< keeps the tensors mapped
  std::vector<GoldenPrompt> prompts;
};

/// In the order of their names.
inline std::vector<GoldenModel> golden_models() {
  std::vector<GoldenModel> models;
  for (const auto& entry :
       std::filesystem::directory_iterator(WDMOE_SOURCE_DIR "/tests/golden/models")) {
    if (!std::filesystem::exists(entry.path() / "golden.json")) continue;
    GoldenModel model{
        entry.path(), weights::Checkpoint::open(entry.path() / "golden.safetensors").value(), {}};
    const auto golden = nlohmann::json::parse(std::ifstream(entry.path() / "golden.json"));
    const std::size_t vocabulary = bsd::ModelConfig::load(entry.path()).value().vocabulary;
    for (const auto& prompt : golden["prompts"]) {
      GoldenPrompt read;
      read.tokens = prompt["tokens"].get<std::vector<bsd::Token>>();
      read.greedy = prompt["greedy"].get<std::vector<bsd::Token>>();
      read.logits = model.logits
                        .matrix("logits." + std::to_string(model.prompts.size()),
                                read.tokens.size(), vocabulary)
                        .value();
      model.prompts.push_back(std::move(read));
    }
    models.push_back(std::move(model));
  }
  std::sort(models.begin(), models.end(),
            [](const GoldenModel& a, const GoldenModel& b) { return a.path < b.path; });
  return models;
}

}  // namespace wdmoe::test
