#pragma once
// What one forward pass works on: slices of sequences, laid out row after row.

#include <cstdint>
#include <vector>

#include "bsd/model/kv_cache.h"
#include "bsd/request.h"
#include "common/span.h"

namespace wdmoe::bsd {

/// Consecutive new tokens of one sequence; their positions follow what its cache holds.  A sequence
/// has at most one slice in a batch.
struct Slice {
  KvSequence* cache = nullptr;  ///< reserved for length() + tokens.size() already
  Span<const Token> tokens;
  enum class Logits { none, last, all } logits = Logits::last;
  std::uint64_t sequence = 0;  ///< its number, unique while the station runs
  PolicyWish wish = {};
};

/// Consecutive rows of a batch.
struct RowRange {
  std::size_t first = 0, count = 0;
};

/// Rows of logits that a step returns for `slice`.
inline std::size_t wanted_rows(const Slice& slice) {
  switch (slice.logits) {
    case Slice::Logits::none:
      return 0;
    case Slice::Logits::last:
      return 1;
    case Slice::Logits::all:
      return slice.tokens.size();
  }
  return 0;
}

}  // namespace wdmoe::bsd
