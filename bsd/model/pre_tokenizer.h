#pragma once
// tokenizer.json's `pre_tokenizer`: cuts normalised text into the pieces that BPE works on one by
// one.

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bsd/model/normalizer.h"
#include "common/result.h"

namespace wdmoe::bsd::text {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Replaces `pieces` by finer ones; none is empty.
  virtual Result<void> apply(std::vector<Piece>& pieces) const = 0;
  /// Null when `value` is null; throws LoadError for what is not implemented.
  static std::unique_ptr<const PreTokenizer> from(const nlohmann::json& value,
                                                  const std::string& path);
};

}  // namespace wdmoe::bsd::text
