#pragma once
// Text <-> tokens, as Hugging Face's fast tokenizer does it.  Read from tokenizer.json, or with
// SentencePiece's library where a tokenizer.model is all there is.  Immutable after load; every
// method is callable from any thread.

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

/// Decodes one growing token list.  The text handed out is final and whole UTF-8; all of it,
/// joined, equals Tokenizer::decode of the list.
class TokenStream {
 public:
  virtual ~TokenStream() = default;
  virtual void push(Token token, std::string& out) = 0;  ///< appends what became final
  virtual void finish(std::string& out) = 0;  ///< appends what was held back; once, at the end
  /// What is held back though it is text should the list end here.
  virtual std::string held_text() const { return {}; }
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Loads from a Hugging Face directory.  A part of tokenizer.json that would change the result
  /// and is not implemented fails the load by name (unsupported).
  static Result<std::unique_ptr<const Tokenizer>> load(const std::filesystem::path& directory);

  /// `add_special`: what the post-processor adds (a leading BOS, say).  Invalid UTF-8: bad_input
  /// with the byte offset. Texts over 16 MiB: limit.
  virtual Result<std::vector<Token>> encode(std::string_view text, bool add_special) const = 0;

  /// Exactly what Hugging Face's decode() returns (invalid bytes become U+FFFD).  Unknown ids are
  /// skipped.
  virtual std::string decode(Span<const Token> tokens, bool skip_special) const = 0;

  /// What the token adds to a text that it does not begin: its leading blank, bytes that are only a
  /// part of a character.  Of a special token its name; empty for an unknown id.
  virtual std::string bytes_of(Token token) const;

  /// A decoder of one list, bit for bit as decode() does it.  By default it decodes the list anew
  /// with every token, which suits small stand-ins; the tokenizers of load() do constant work per
  /// token.
  virtual std::unique_ptr<TokenStream> stream(bool skip_special) const;

  virtual std::size_t vocabulary_size() const = 0;  ///< highest id + 1
  virtual bool is_special(Token token) const = 0;
  virtual std::optional<Token> token_of(std::string_view piece) const = 0;  ///< e.g. "</s>"
};

/// Turns a growing token list into text pieces that never split a UTF-8 character; the pieces
/// joined equal Tokenizer::decode of the whole list (skip_special).  One per sequence; the
/// tokenizer outlives it. Text may come late: byte tokens are held back until their run ends, for
/// only then is it known whether they are text.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : stream_(tokenizer.stream(true)) {}
  std::string push(Token token);  ///< text that became final, possibly empty
  std::string finish();           ///< what was held back
  std::string held_text() const { return stream_->held_text(); }  ///< see TokenStream
 private:
  std::unique_ptr<TokenStream> stream_;
};

}  // namespace wdmoe::bsd
