#pragma once
// A look at JSON text before it is parsed: how deeply it nests.  A document tree costs some 70
// bytes per level and bracket, so a few MiB of "[[[[" would cost hundreds; refuse those first.
// Pure, one pass.

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace wdmoe::bsd {

/// Deepest nesting of arrays and objects in `text`, valid or not.
inline std::size_t json_depth(std::string_view text) {
  std::size_t depth = 0, deepest = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

}  // namespace wdmoe::bsd
