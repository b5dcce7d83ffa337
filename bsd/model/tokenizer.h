#pragma once
// Text <-> tokens, as Hugging Face's fast tokenizer does it.  Read from tokenizer.json, or with
// SentencePiece's library where a tokenizer.model is all there is.  Immutable after load; every method
// is callable from any thread.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/request.h"
#include "common/result.h"
#include "common/span.h"

namespace wdmoe::bsd {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Loads from a Hugging Face directory.  A part of tokenizer.json that would change the result and
  /// is not implemented fails the load by name (unsupported).
  static Result<std::unique_ptr<const Tokenizer>> load(const std::filesystem::path& directory);

  /// `add_special`: what the post-processor adds (a leading BOS, say).  Invalid UTF-8: bad_input with
  /// the byte offset.
  virtual Result<std::vector<Token>> encode(std::string_view text, bool add_special) const = 0;

  /// Exactly what Hugging Face's decode() returns (invalid bytes become U+FFFD).  Unknown ids are skipped.
  virtual std::string decode(Span<const Token> tokens, bool skip_special) const = 0;

  virtual std::size_t vocabulary_size() const = 0;
  virtual bool is_special(Token token) const = 0;
  virtual std::optional<Token> token_of(std::string_view piece) const = 0;  ///< e.g. "</s>"
};

/// Turns a growing token list into text pieces that never split a UTF-8 character; the pieces joined
/// equal Tokenizer::decode of the whole list (skip_special).  One per sequence.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer);
  std::string push(Token token);  ///< text that became final, possibly empty
  std::string finish();           ///< what was held back
 private:
  const Tokenizer& tokenizer_;
  std::vector<Token> pending_;
  std::size_t emitted_ = 0;
};

}  // namespace wdmoe::bsd
