#include "bsd/model/splitter.h"

#include <algorithm>
#include <utility>

namespace wdmoe::bsd::text {
namespace {

/// Walks the matches in the given order and lets each extend the last group or begin a new one.
template <class Joins, class Extend>
void fold(std::vector<Match>& matches, Joins joins, Extend extend) {
  std::size_t groups = 0;
  bool previous = false;
  for (std::size_t i = 0; i < matches.size(); ++i) {
    const Match match = matches[i];
    if (groups > 0 && joins(match.matched, previous)) {
      extend(matches[groups - 1], match);
    } else {
      matches[groups++] = {match.begin, match.end, false};
    }
    previous = match.matched;
  }
  matches.resize(groups);
}

void extend_end(Match& group, const Match& next) {
  group.end = next.end;
}
void extend_begin(Match& group, const Match& next) {
  group.begin = next.begin;
}

}  // namespace

Behavior behavior_from(const Part& part, std::string_view key, std::string_view otherwise) {
  const std::string name = part.string_or(key, otherwise);
  if (name == "Isolated") return Behavior::isolated;
  if (name == "Removed") return Behavior::removed;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  part.unsupported(key, name,
                   "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

void regroup(std::vector<Match>& matches, Behavior behavior) {
  const auto first_of_run = [](bool matched, bool previous) { return matched && !previous; };
  switch (behavior) {
    case Behavior::removed:
      return;
    case Behavior::isolated:
      for (Match& match : matches) match.matched = false;
      return;
    case Behavior::contiguous:
      return fold(
          matches, [](bool matched, bool previous) { return matched == previous; }, extend_end);
    case Behavior::merged_with_previous:
      return fold(matches, first_of_run, extend_end);
    case Behavior::merged_with_next:
      std::reverse(matches.begin(), matches.end());
      fold(matches, first_of_run, extend_begin);
      std::reverse(matches.begin(), matches.end());
      return;
  }
}

Splitter::Splitter(Pattern pattern, Behavior behavior, bool invert)
    : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

Result<void> Splitter::split(const Piece& piece, std::vector<Piece>& out) const {
  std::vector<Match> matches;
  WDMOE_TRY(pattern_.find(piece.text, matches));
  if (invert_)
    for (Match& match : matches) match.matched = !match.matched;
  regroup(matches, behavior_);
  for (const Match& match : matches) {
    if (match.matched) continue;  // only Removed leaves any
    out.push_back({piece.text.substr(match.begin, match.end - match.begin),
                   piece.at_start && match.begin == 0});
  }
  return {};
}

}  // namespace wdmoe::bsd::text
