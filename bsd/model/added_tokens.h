#pragma once
// tokenizer.json's `added_tokens`: strings that are tokens as they stand, found before BPE sees the
// text.  Matching follows Hugging Face's AddedVocabulary: leftmost, then longest; first the tokens
// that look at the raw text, then (after normalisation) those with normalized = true.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bsd/model/bpe.h"
#include "bsd/model/normalizer.h"
#include "bsd/request.h"
#include "common/result.h"

namespace wdmoe::bsd::text {

struct AddedToken {
  Token id = 0;
  std::string content;
  std::string form;  // what is looked for, and what it decodes to: normalised if `normalized`
  bool special = false, lstrip = false, rstrip = false, single_word = false, normalized = false;
};

/// Either an added token or text still to be worked on.
struct Segment {
  std::optional<Token> token;
  Piece piece;
};

/// A set of strings, searched for from each position of a text.
class Trie {
 public:
  void add(std::string_view key, std::uint32_t value);  // the first of equal keys stays
  /// Longest key that `text` has at `offset`: its value and length.
  struct Hit {
    std::uint32_t value;
    std::size_t length;
  };
  std::optional<Hit> longest(std::string_view text, std::size_t offset) const;
  bool empty() const { return edges_.empty(); }

 private:
  static constexpr std::uint32_t kNoValue = 0xFFFFFFFFu;
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;  // node · 256 + byte -> node
  std::vector<std::uint32_t> values_{kNoValue};             // by node; node 0 is the root
  bool starts_[256] = {};
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// Reads the array; ids are those Hugging Face gives: the vocabulary's, else counted on from its
  /// end. `normalizer` may be null; tokens with normalized = true are looked for in its output.
  AddedTokens(const nlohmann::json& list, const Bpe& bpe, const Normalizer* normalizer);

  /// Cuts the input, normalising what lies between raw tokens.  No segment is empty.
  Result<std::vector<Segment>> extract(std::string_view text, const Normalizer* normalizer) const;

  const AddedToken* find(Token id) const;
  std::optional<Token> find(std::string_view content) const;
  bool is_special(std::string_view content) const { return specials_.count(content) != 0; }
  Token id_end() const { return id_end_; }  ///< highest id + 1; 0 when there are none

 private:
  void add(const Part& part, const Bpe& bpe);
  void cut(const Piece& piece, const Trie& trie, std::vector<Segment>& out) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<Token, std::size_t> by_id_;
  StringMap<std::size_t> by_content_;
  std::unordered_set<std::string, StringHash, std::equal_to<>> specials_;
  Trie raw_, normalized_;  // values index tokens_
  Token id_end_ = 0;
};

}  // namespace wdmoe::bsd::text
