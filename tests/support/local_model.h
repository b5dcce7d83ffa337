#pragma once
// A bsd::LocalModel with what tests ask of it: logits of every position and greedy continuations.

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "bsd/local_model.h"
#include "common/check.h"

namespace wdmoe::test {

/// `count` tokens below `vocabulary` (a TinyModel's), the same for the same seed.
inline std::vector<bsd::Token> tokens_of(std::size_t count, std::uint32_t seed,
                                         std::size_t vocabulary = 50) {
  std::vector<bsd::Token> tokens(count);
  for (bsd::Token& token : tokens) {
    seed = seed * 1664525u + 1013904223u;
    token = static_cast<bsd::Token>((seed >> 8) % vocabulary);
  }
  return tokens;
}

class LocalModel {
 public:
  /// Throws (fails the test) when `path` does not load.
  explicit LocalModel(const std::filesystem::path& path, std::size_t threads = 1,
                      std::size_t cache_tokens = 16384)
      : model_(bsd::LocalModel::load(path, threads, cache_tokens).value()) {}

  const weights::Checkpoint& checkpoint() const { return model_->checkpoint(); }
  const bsd::ModelConfig& config() const { return model_->config(); }
  kernels::ThreadPool& pool() { return model_->pool(); }
  bsd::ExpertRunner& experts() { return model_->experts(); }
  bsd::Decoder& decoder() { return model_->decoder(); }
  bsd::KvCache& cache() { return model_->cache(); }

  /// Logits of every position, [tokens, vocabulary], with a fresh cache, chunk after chunk.
  std::vector<float> logits(const std::vector<bsd::Token>& tokens,
                            const std::vector<std::size_t>& chunks) {
    const auto sequence = cache().open();
    WDMOE_CHECK(sequence->reserve(tokens.size()));
    std::vector<float> all;
    std::size_t first = 0;
    for (const std::size_t count : chunks) {
      const bsd::Slice slice{
          sequence.get(), {tokens.data() + first, count}, bsd::Slice::Logits::all};
      bsd::StepCosts costs;
      const Matrix<const float> rows = decoder().step({&slice, 1}, costs).value();
      all.insert(all.end(), rows.data, rows.data + rows.rows * rows.cols);
      first += count;
    }
    return all;
  }

  /// `count` greedy tokens after `prompt`, one step each; the lowest id wins a tie.
  std::vector<bsd::Token> greedy(std::vector<bsd::Token> prompt, std::size_t count) {
    const auto sequence = cache().open();
    WDMOE_CHECK(sequence->reserve(prompt.size() + count));
    std::vector<bsd::Token> made;
    std::vector<bsd::Token> input = std::move(prompt);
    while (made.size() < count) {
      const bsd::Slice slice{
          sequence.get(), {input.data(), input.size()}, bsd::Slice::Logits::last};
      bsd::StepCosts costs;
      const Matrix<const float> row = decoder().step({&slice, 1}, costs).value();
      const float* best = std::max_element(row.data, row.data + row.cols);
      made.push_back(static_cast<bsd::Token>(best - row.data));
      input = {made.back()};
    }
    return made;
  }

 private:
  std::unique_ptr<bsd::LocalModel> model_;
};

}  // namespace wdmoe::test
