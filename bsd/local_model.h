#pragma once
// A whole model in this process, experts included: what `wdmoe logits|generate|chat|bench --model
// DIR` and tests stand on.

#include <cstddef>
#include <filesystem>
#include <memory>

#include "bsd/decode.h"
#include "bsd/model/kv_cache.h"
#include "bsd/moe/expert_runner.h"
#include "common/result.h"
#include "kernels/expert_backend.h"
#include "kernels/thread_pool.h"
#include "weights/checkpoint.h"

namespace wdmoe::bsd {

class LocalModel {
 public:
  static constexpr std::size_t kMostCacheTokens = std::size_t{1} << 24;

  /// `threads`: at least 1.  `cache_tokens`: room for keys and values of all sequences together, at
  /// most kMostCacheTokens (limit).  Errors name the file and what is wrong with it.
  static Result<std::unique_ptr<LocalModel>> load(const std::filesystem::path& path,
                                                  std::size_t threads, std::size_t cache_tokens);
  LocalModel(const LocalModel&) = delete;
  LocalModel& operator=(const LocalModel&) = delete;

  const weights::Checkpoint& checkpoint() const { return checkpoint_; }
  const ModelConfig& config() const { return config_; }
  kernels::ThreadPool& pool() { return pool_; }
  ExpertRunner& experts() { return *experts_; }
  Decoder& decoder() { return *decoder_; }
  KvCache& cache() { return cache_; }

 private:
  LocalModel(weights::Checkpoint checkpoint, ModelConfig config, std::size_t threads,
             std::size_t cache_bytes);

  weights::Checkpoint checkpoint_;
  ModelConfig config_;
  kernels::ThreadPool pool_;
  std::unique_ptr<kernels::ExpertBackend> backend_;
  std::unique_ptr<ExpertRunner> experts_;
  std::unique_ptr<SelectionPolicy> policy_;
  std::unique_ptr<Decoder> decoder_;
  KvCache cache_;
};

}  // namespace wdmoe::bsd
