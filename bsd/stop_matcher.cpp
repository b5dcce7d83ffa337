#include "bsd/stop_matcher.h"

#include <algorithm>

namespace wdmoe::bsd {

void StopMatcher::push(std::string_view text, std::string& out) {
  if (matched_) return;
  held_ += text;
  std::size_t first = std::string::npos, end = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos || at + stop.size() > end) continue;
    first = at + stop.size() < end ? at : std::min(first, at);
    end = at + stop.size();
  }
  if (first != std::string::npos) {
    matched_ = true;
    out.append(held_, 0, first);
    held_.clear();
    return;
  }
  const std::size_t final_size = held_.size() - held_back();
  out.append(held_, 0, final_size);
  held_.erase(0, final_size);
}

void StopMatcher::finish(std::string& out) {
  out += held_;
  held_.clear();
}

bool StopMatcher::would_match(std::string_view text) const {
  if (text.empty() || matched_) return false;
  const std::string all = held_ + std::string(text);
  return std::any_of(stops_.begin(), stops_.end(),
                     [&](const std::string& stop) { return all.find(stop) != std::string::npos; });
}

/// Length of the longest end of the text that begins a stop string.
std::size_t StopMatcher::held_back() const {
  std::size_t longest = 0;
  const std::string_view held = held_;
  for (const std::string& stop : stops_) {
    for (std::size_t size = std::min(held.size(), stop.size() - 1); size > longest; --size) {
      if (held.substr(held.size() - size) != std::string_view(stop).substr(0, size)) continue;
      longest = size;
      break;
    }
  }
  return longest;
}

}  // namespace wdmoe::bsd
