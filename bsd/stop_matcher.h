#pragma once
// Stop strings of one sequence.  Text goes in as it is decoded and comes out as soon as no stop
// string can begin in it any more, so that no part of one is ever shown to the client.

#include <string>
#include <string_view>
#include <vector>

namespace wdmoe::bsd {

class StopMatcher {
 public:
  /// None of `stops` is empty.
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Appends to `out` what is final now; nothing more once matched().  The stop string that is
  /// complete first decides (of several that end together the longest), so the answer does not
  /// depend on how the text is cut into pieces.
  void push(std::string_view text, std::string& out);
  /// Appends what was held back: the sequence ended without a match.
  void finish(std::string& out);
  bool matched() const { return matched_; }
  /// Whether push(text) would match.
  bool would_match(std::string_view text) const;

 private:
  std::size_t held_back() const;

  std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace wdmoe::bsd
