#pragma once
// Keys and values of every running sequence, in pages of kPageTokens tokens that are handed out as
// sequences grow and come back when they end.  Bounded by configuration; engine thread only.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bsd/model/model_config.h"
#include "common/result.h"
#include "common/span.h"

namespace wdmoe::bsd {

constexpr std::size_t kPageTokens = 32;

/// One sequence's pages; returns them to the cache when destroyed.
class KvSequence;

class KvCache {
 public:
  /// `max_bytes` bounds the memory of all pages; memory is taken from the system as pages are first used.
  KvCache(const ModelConfig& config, std::size_t max_bytes);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::size_t pages_total() const;
  std::size_t pages_free() const;
  static std::size_t pages_for(std::size_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

  std::unique_ptr<KvSequence> open();

 private:
  friend class KvSequence;
  struct State;
  std::unique_ptr<State> state_;
};

class KvSequence {
 public:
  ~KvSequence();
  KvSequence(const KvSequence&) = delete;
  KvSequence& operator=(const KvSequence&) = delete;

  std::size_t length() const;  ///< tokens stored in every layer

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
  struct State;
  explicit KvSequence(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wdmoe::bsd
