#pragma once
// tokenizer.json's `normalizer`: rewrites text before it is cut into pieces.

#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "common/result.h"

namespace wdmoe::bsd::text {

/// A stretch of text on its way to becoming tokens.  `at_start`: its first character stems from the
/// very beginning of the input, which Metaspace's prepend_scheme "first" asks for.
struct Piece {
  std::string text;
  bool at_start = false;
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual Result<void> apply(Piece& piece) const = 0;
  /// Null when `value` is null; throws LoadError for what is not implemented.
  static std::unique_ptr<const Normalizer> from(const nlohmann::json& value,
                                                const std::string& path);
};

}  // namespace wdmoe::bsd::text
