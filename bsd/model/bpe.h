#pragma once
// Byte-pair encoding: a piece of text becomes tokens by merging neighbours, most important pair
// first. Vocabulary and merges come from tokenizer.json's `model`.  Immutable once loaded; any
// thread.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bsd/model/tokenizer_part.h"
#include "bsd/request.h"

namespace wdmoe::bsd::text {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

template <class Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

class Bpe {
 public:
  // The largest vocabularies today hold 262 144 tokens; ids index tables, so they are bounded.
  static constexpr Token kMaxToken = (1u << 22) - 1;

  /// Reads `model`; throws LoadError for what is missing, wrong or not implemented.
  explicit Bpe(const Part& model);

  std::optional<Token> find(std::string_view piece) const;
  /// Null for an id that the vocabulary lacks.
  const std::string* piece(Token token) const;
  std::size_t size() const { return ids_.size(); }       ///< entries
  std::size_t id_end() const { return pieces_.size(); }  ///< highest id + 1

  /// Tokens of one piece (valid UTF-8), appended.  O(n log n).
  void encode(std::string_view piece, std::vector<Token>& out) const;

 private:
  struct Rule {
    std::uint32_t rank;
    Token merged;
  };
  struct Symbol;
  struct Candidate;
  class Merging;

  void read_vocabulary(const Part& model);
  void read_merges(const Part& model);
  void add_merge(const Part& model, std::size_t index, std::string_view left,
                 std::string_view right);
  const Rule* rule(Token left, Token right) const;
  std::vector<Symbol> letters(std::string_view piece) const;
  bool fall_back(std::string_view letter, std::vector<Symbol>& out) const;

  struct PairHash {
    std::size_t operator()(std::uint64_t pair) const {
      pair *= 0x9E3779B97F4A7C15u;  // Fibonacci hashing spreads both halves
      return static_cast<std::size_t>(pair ^ (pair >> 32));
    }
  };

  StringMap<Token> ids_;
  std::vector<const std::string*> pieces_;  // by id; the strings are ids_' keys
  std::unordered_map<std::uint64_t, Rule, PairHash> rules_;
  std::vector<std::optional<Token>> byte_tokens_;  // 256 entries with byte_fallback, else none
  std::optional<Token> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

/// Encodes the pieces of one text; remembers those it has seen, for words come back.
class CachedBpe {
 public:
  explicit CachedBpe(const Bpe& bpe) : bpe_(bpe) {}
  void encode(std::string_view piece, std::vector<Token>& out);

 private:
  // Long pieces hardly repeat; 2^16 words bound the cache to a few MiB.
  static constexpr std::size_t kLongest = 64, kMostWords = 1u << 16;
  const Bpe& bpe_;
  StringMap<std::vector<Token>> seen_;
};

}  // namespace wdmoe::bsd::text
