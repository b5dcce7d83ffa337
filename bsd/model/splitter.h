#pragma once
// Cutting one piece at a pattern, with the five behaviours of Hugging Face's Split.

#include <string>
#include <vector>

#include "bsd/model/normalizer.h"
#include "bsd/model/regex.h"
#include "common/result.h"

namespace wdmoe::bsd::text {

enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

Behavior behavior_from(const Part& part, std::string_view key, std::string_view otherwise);

class Splitter {
 public:
  /// `invert`: what the pattern does not match counts as the match.
  Splitter(Pattern pattern, Behavior behavior, bool invert = false);
  /// Appends the parts of `piece` to `out`; none is empty.
  Result<void> split(const Piece& piece, std::vector<Piece>& out) const;

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Joins neighbouring matches as `behavior` says; what stays `matched` is to be removed.
void regroup(std::vector<Match>& matches, Behavior behavior);

}  // namespace wdmoe::bsd::text
