#include "bsd/model/kv_cache.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include <sys/mman.h>

#include "common/check.h"

namespace wdmoe::bsd {

std::size_t KvCache::page_bytes(const ModelConfig& config) {
  return config.layers * 2 * config.kv_heads * kPageTokens * config.head_dim * sizeof(float);
}

KvCache::KvCache(const ModelConfig& config, std::size_t max_bytes)
    : layers_(config.layers),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      block_floats_(config.kv_heads * kPageTokens * config.head_dim),
      pages_total_(std::min<std::size_t>(max_bytes / page_bytes(config),
                                         std::numeric_limits<std::uint32_t>::max())),
      mapped_bytes_(pages_total_ * page_bytes(config)),
      memory_(nullptr) {
  if (pages_total_ == 0)
    throw std::runtime_error("key-value cache of " + std::to_string(max_bytes) +
                             " bytes: not even one page fits; give at least " +
                             std::to_string(page_bytes(config)));
  void* memory = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)  // NOLINT: the macro's cast is the system's
    throw std::runtime_error("key-value cache of " + std::to_string(max_bytes) +
                             " bytes: the system refuses that much; configure less");
  memory_ = static_cast<float*>(memory);
  free_.resize(pages_total_);
  for (std::size_t i = 0; i < pages_total_; ++i)  // the lowest page is handed out first
    free_[i] = static_cast<std::uint32_t>(pages_total_ - 1 - i);
}

KvCache::~KvCache() {
  WDMOE_CHECK(free_.size() == pages_total_);  // a sequence outlived its cache
  munmap(memory_, mapped_bytes_);
}

std::unique_ptr<KvSequence> KvCache::open() {
  return std::unique_ptr<KvSequence>(new KvSequence(*this));
}

KvSequence::KvSequence(KvCache& cache)
    : cache_(cache), keys_(cache.layers_), values_(cache.layers_) {}

KvSequence::~KvSequence() {
  cache_.free_.insert(cache_.free_.end(), pages_.rbegin(), pages_.rend());
}

Result<void> KvSequence::reserve(std::size_t tokens) {
  const std::size_t wanted = KvCache::pages_for(tokens);
  if (wanted <= pages_.size()) return {};
  const std::size_t more = wanted - pages_.size();
  if (more > cache_.free_.size())
    return fail(Code::busy, "key-value cache: " + std::to_string(more) + " more pages wanted, " +
                                std::to_string(cache_.free_.size()) + " free of " +
                                std::to_string(cache_.pages_total_));
  for (std::size_t i = 0; i < more; ++i) {
    const std::uint32_t page = cache_.free_.back();
    cache_.free_.pop_back();
    pages_.push_back(page);
    float* base = cache_.memory_ + std::size_t{page} * cache_.layers_ * 2 * cache_.block_floats_;
    for (std::size_t layer = 0; layer < cache_.layers_; ++layer) {
      keys_[layer].push_back(base + layer * 2 * cache_.block_floats_);
      values_[layer].push_back(base + (layer * 2 + 1) * cache_.block_floats_);
    }
  }
  return {};
}

Result<std::unique_ptr<KvSequence>> KvCache::copy(const KvSequence& source) {
  std::unique_ptr<KvSequence> sequence = open();
  WDMOE_TRY(sequence->reserve(source.length_));
  const std::size_t page_floats = layers_ * 2 * block_floats_;
  for (std::size_t page = 0; page < sequence->pages_.size(); ++page)
    std::copy_n(memory_ + std::size_t{source.pages_[page]} * page_floats, page_floats,
                memory_ + std::size_t{sequence->pages_[page]} * page_floats);
  sequence->length_ = source.length_;
  return sequence;
}

void KvSequence::advance(std::size_t tokens) {
  WDMOE_CHECK(length_ + tokens <= capacity());
  length_ += tokens;
}

void KvSequence::write(std::size_t layer, std::size_t position, const float* key,
                       const float* value) {
  const std::size_t page = position / kPageTokens;
  WDMOE_CHECK(layer < keys_.size() && page < pages_.size());
  const std::size_t head_dim = cache_.head_dim_;
  const std::size_t offset = (position % kPageTokens) * head_dim;
  float* keys = cache_.memory_ + (keys_[layer][page] - cache_.memory_) + offset;
  float* values = cache_.memory_ + (values_[layer][page] - cache_.memory_) + offset;
  for (std::size_t head = 0; head < cache_.kv_heads_; ++head) {
    std::copy_n(key + head * head_dim, head_dim, keys + head * kPageTokens * head_dim);
    std::copy_n(value + head * head_dim, head_dim, values + head * kPageTokens * head_dim);
  }
}

Span<const float* const> KvSequence::key_pages(std::size_t layer) const {
  return {keys_[layer].data(), keys_[layer].size()};
}

Span<const float* const> KvSequence::value_pages(std::size_t layer) const {
  return {values_[layer].data(), values_[layer].size()};
}

}  // namespace wdmoe::bsd
