#pragma once
// The regular expressions of tokenizer.json, matched by PCRE2.  Hugging Face matches them with
// Oniguruma's Ruby syntax; `translate` rewrites what the two engines read differently and refuses
// what it cannot.  Also plain strings and character classes, under one interface: a Pattern.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/model/tokenizer_part.h"
#include "common/result.h"

namespace wdmoe::bsd::text {

/// A stretch of text, as byte offsets, and whether the pattern matched it.
struct Match {
  std::size_t begin, end;
  bool matched;
};

class Pattern {
 public:
  using Predicate = bool (*)(char32_t);

  static Pattern string(std::string needle);
  static Pattern regex(const std::string& expression);  // throws LoadError
  static Pattern characters(Predicate predicate);       // each character on its own
  /// Reads {"String": …} or {"Regex": …}.
  static Pattern from(const Part& part);

  /// Cuts valid UTF-8 into matches and the stretches between them, in order and without gaps.
  /// `limit` when a regular expression gives up (too much backtracking).
  Result<void> find(std::string_view text, std::vector<Match>& out) const;

 private:
  struct Compiled;
  Result<void> find_regex(std::string_view text, std::vector<Match>& out) const;

  std::string needle_;
  Predicate predicate_ = nullptr;
  std::shared_ptr<const Compiled> compiled_;  // immutable; shared by copies
};

/// Ruby-syntax Oniguruma to PCRE2; throws LoadError for what differs and is not rewritten.
std::string translate(std::string_view expression);

}  // namespace wdmoe::bsd::text
