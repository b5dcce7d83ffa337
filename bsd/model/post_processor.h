#pragma once
// tokenizer.json's `post_processor`: the special tokens around a text.

#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bsd/request.h"

namespace wdmoe::bsd::text {

/// What goes before and after the text's own tokens.
struct Affixes {
  std::vector<Token> before, after;
};

/// Reads `post_processor` (possibly null); throws LoadError for what is not implemented.
Affixes affixes_from(const nlohmann::json& post_processor);

}  // namespace wdmoe::bsd::text
