#include "bsd/local_model.h"

#include <algorithm>
#include <string>
#include <utility>

#include "bsd/model/local_experts.h"

namespace wdmoe::bsd {

Result<std::unique_ptr<LocalModel>> LocalModel::load(const std::filesystem::path& path,
                                                     std::size_t threads,
                                                     std::size_t cache_tokens) {
  if (cache_tokens > kMostCacheTokens)
    return fail(Code::limit, std::to_string(cache_tokens) +
                                 " tokens are more than one process caches, " +
                                 std::to_string(kMostCacheTokens));
  Result<weights::Checkpoint> checkpoint = weights::Checkpoint::open(path);
  if (!checkpoint) return tl::unexpected<Error>(std::move(checkpoint).error());
  Result<ModelConfig> config = ModelConfig::load(checkpoint->directory());
  if (!config) return tl::unexpected<Error>(std::move(config).error());
  const std::size_t pages = std::max<std::size_t>(KvCache::pages_for(cache_tokens), 1);
  const std::size_t cache_bytes = pages * KvCache::page_bytes(*config);
  std::unique_ptr<LocalModel> model(
      new LocalModel(*std::move(checkpoint), *std::move(config), threads, cache_bytes));
  auto experts = make_local_experts(model->checkpoint_, model->config_, *model->backend_);
  if (!experts) return tl::unexpected<Error>(std::move(experts).error());
  model->experts_ = *std::move(experts);
  auto decoder = Decoder::load(model->checkpoint_, model->config_, model->pool_, *model->experts_,
                               *model->policy_);
  if (!decoder) return tl::unexpected<Error>(std::move(decoder).error());
  model->decoder_ = *std::move(decoder);
  return model;
}

LocalModel::LocalModel(weights::Checkpoint checkpoint, ModelConfig config, std::size_t threads,
                       std::size_t cache_bytes)
    : checkpoint_(std::move(checkpoint)),
      config_(std::move(config)),
      pool_(threads),
      backend_(kernels::make_cpu_backend(pool_)),
      policy_(make_top_k_policy()),
      cache_(config_, cache_bytes) {}

}  // namespace wdmoe::bsd
