#pragma once
// Keys and values of every running sequence, in pages of kPageTokens tokens that are handed out as
// sequences grow and come back when they end.  Bounded by configuration; engine thread only.
// With a sliding window pages that no query can see any more are kept until the sequence ends.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bsd/model/model_config.h"
#include "common/result.h"
#include "common/span.h"

namespace wdmoe::bsd {

constexpr std::size_t kPageTokens = 32;

class KvSequence;

/// A page here holds kPageTokens positions of every layer: keys and values,
/// layers · 2 · [kv_heads, kPageTokens, head_dim] f32.
class KvCache {
 public:
  /// `max_bytes` bounds the memory of all pages: address space is set aside now, memory is taken
  /// from the system as pages are first written.  Throws std::runtime_error when max_bytes holds no
  /// page or the system refuses (start-up).
  KvCache(const ModelConfig& config, std::size_t max_bytes);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::size_t pages_total() const { return pages_total_; }
  std::size_t pages_free() const { return free_.size(); }
  static std::size_t pages_for(std::size_t tokens) {
    return tokens / kPageTokens + (tokens % kPageTokens != 0 ? 1 : 0);
  }
  static std::size_t page_bytes(const ModelConfig& config);

  /// An empty sequence; the cache outlives it.
  std::unique_ptr<KvSequence> open();
  /// A sequence of its own with what `source` stores now; busy when the pages for that are not
  /// free.
  Result<std::unique_ptr<KvSequence>> copy(const KvSequence& source);

 private:
  friend class KvSequence;
  std::size_t layers_, kv_heads_, head_dim_;
  std::size_t block_floats_;  ///< keys (or values) of one layer in one page
  std::size_t pages_total_;
  std::size_t mapped_bytes_;
  float* memory_;
  std::vector<std::uint32_t> free_;  ///< last in, first out: warm pages are used again first
};

/// One sequence's pages; returns them to the cache when destroyed.
class KvSequence {
 public:
  ~KvSequence();
  KvSequence(const KvSequence&) = delete;
  KvSequence& operator=(const KvSequence&) = delete;

  std::size_t length() const { return length_; }  ///< tokens stored in every layer
  std::size_t capacity() const { return pages_.size() * kPageTokens; }

  /// Room for `tokens` tokens in total; busy when the cache is full (nothing changes then).
  Result<void> reserve(std::size_t tokens);
  void advance(std::size_t tokens);  ///< the step wrote this many more positions

  /// Writes key and value [kv_heads · head_dim] of one position of one layer; within the reserve.
  void write(std::size_t layer, std::size_t position, const float* key, const float* value);
  /// Page base addresses of a layer, [kv_heads, kPageTokens, head_dim] each.
  Span<const float* const> key_pages(std::size_t layer) const;
  Span<const float* const> value_pages(std::size_t layer) const;

 private:
  friend class KvCache;
  explicit KvSequence(KvCache& cache);

  KvCache& cache_;
  std::size_t length_ = 0;
  std::vector<std::uint32_t> pages_;
  std::vector<std::vector<const float*>> keys_, values_;  ///< [layers][pages]
};

}  // namespace wdmoe::bsd
