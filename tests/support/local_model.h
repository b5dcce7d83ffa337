#pragma once
// A whole model in this process: everything a test needs around a Decoder.

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "bsd/decode.h"
#include "bsd/model/kv_cache.h"
#include "bsd/model/local_experts.h"
#include "common/check.h"
#include "kernels/expert_backend.h"
#include "kernels/thread_pool.h"
#include "weights/checkpoint.h"

namespace wdmoe::test {

class LocalModel {
 public:
  /// Loads `path`; `backend`: the CPU's.  Throws (fails the test) when it does not load.
  explicit LocalModel(const std::filesystem::path& path, std::size_t threads = 1,
                      std::size_t cache_bytes = std::size_t{64} << 20)
      : checkpoint_(weights::Checkpoint::open(path).value()),
        config_(bsd::ModelConfig::load(path).value()),
        pool_(threads),
        backend_(kernels::make_cpu_backend(pool_)),
        experts_(bsd::make_local_experts(checkpoint_, config_, *backend_).value()),
        policy_(bsd::make_top_k_policy()),
        decoder_(bsd::Decoder::load(checkpoint_, config_, pool_, *experts_, *policy_).value()),
        cache_(config_, cache_bytes) {}

  const weights::Checkpoint& checkpoint() const { return checkpoint_; }
  const bsd::ModelConfig& config() const { return config_; }
  kernels::ThreadPool& pool() { return pool_; }
  bsd::ExpertRunner& experts() { return *experts_; }
  bsd::Decoder& decoder() { return *decoder_; }
  bsd::KvCache& cache() { return cache_; }

  /// Logits of every position, [tokens, vocabulary], with a fresh cache, chunk after chunk.
  std::vector<float> logits(const std::vector<bsd::Token>& tokens,
                            const std::vector<std::size_t>& chunks) {
    const auto sequence = cache_.open();
    WDMOE_CHECK(sequence->reserve(tokens.size()));
    std::vector<float> all;
    std::size_t first = 0;
    for (const std::size_t count : chunks) {
      const bsd::Slice slice{
          sequence.get(), {tokens.data() + first, count}, bsd::Slice::Logits::all};
      bsd::StepCosts costs;
      const Matrix<const float> rows = decoder_->step({&slice, 1}, costs).value();
      all.insert(all.end(), rows.data, rows.data + rows.rows * rows.cols);
      first += count;
    }
    return all;
  }

  /// `count` greedy tokens after `prompt`, one step each; the lowest id wins a tie.
  std::vector<bsd::Token> greedy(std::vector<bsd::Token> prompt, std::size_t count) {
    const auto sequence = cache_.open();
    WDMOE_CHECK(sequence->reserve(prompt.size() + count));
    std::vector<bsd::Token> made;
    std::vector<bsd::Token> input = std::move(prompt);
    while (made.size() < count) {
      const bsd::Slice slice{
          sequence.get(), {input.data(), input.size()}, bsd::Slice::Logits::last};
      bsd::StepCosts costs;
      const Matrix<const float> row = decoder_->step({&slice, 1}, costs).value();
      const float* best = std::max_element(row.data, row.data + row.cols);
      made.push_back(static_cast<bsd::Token>(best - row.data));
      input = {made.back()};
    }
    return made;
  }

 private:
  weights::Checkpoint checkpoint_;
  bsd::ModelConfig config_;
  kernels::ThreadPool pool_;
  std::unique_ptr<kernels::ExpertBackend> backend_;
  std::unique_ptr<bsd::ExpertRunner> experts_;
  std::unique_ptr<bsd::SelectionPolicy> policy_;
  std::unique_ptr<bsd::Decoder> decoder_;
  bsd::KvCache cache_;
};

}  // namespace wdmoe::test
