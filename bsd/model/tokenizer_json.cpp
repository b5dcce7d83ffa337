#include "bsd/model/tokenizer_json.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include "bsd/json_depth.h"
#include "bsd/model/added_tokens.h"
#include "bsd/model/bpe.h"
#include "bsd/model/normalizer.h"
#include "bsd/model/post_processor.h"
#include "bsd/model/pre_tokenizer.h"
#include "bsd/model/token_decoder.h"
#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

using nlohmann::json;

// The largest published tokenizer.json has 34 MB; real ones nest about 6 deep.
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{64} << 20;
constexpr std::size_t kMaxDepth = 32;

const json& field_or_null(const Part& part, std::string_view key) {
  static const json null;
  const json* found = part.find(key);
  return found == nullptr ? null : *found;
}

class JsonTokenizer final : public Tokenizer {
 public:
  explicit JsonTokenizer(const Part& file)
      : bpe_(file.part("model")),
        normalizer_(Normalizer::from(field_or_null(file, "normalizer"), "normalizer")),
        pre_tokenizer_(PreTokenizer::from(field_or_null(file, "pre_tokenizer"), "pre_tokenizer")),
        affixes_(affixes_from(field_or_null(file, "post_processor"))),
        decoder_(decoder_from(field_or_null(file, "decoder"))),
        piece_decoder_(piece_decoder_from(field_or_null(file, "decoder"))) {
    // truncation and padding are settings of a batch that transformers resets with every call.
    file.only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
               "post_processor", "decoder", "model"});
    if (file.find("added_tokens") != nullptr)
      added_ = AddedTokens(file.array("added_tokens"), bpe_, normalizer_.get());
  }

  Result<std::vector<Token>> encode(std::string_view text, bool add_special) const override;
  std::string decode(Span<const Token> tokens, bool skip_special) const override;
  std::string bytes_of(Token token) const override;
  std::unique_ptr<TokenStream> stream(bool skip_special) const override;

  std::size_t vocabulary_size() const override {
    return std::max<std::size_t>(bpe_.id_end(), added_.id_end());
  }
  bool is_special(Token token) const override {
    const AddedToken* added = added_.find(token);
    return added != nullptr && added_.is_special(added->content);
  }
  std::optional<Token> token_of(std::string_view piece) const override {
    const auto added = added_.find(piece);
    return added ? added : bpe_.find(piece);
  }

  /// The string that is decoded; null for an id that is not in use.
  const std::string* piece_of(Token token) const {
    const AddedToken* added = added_.find(token);
    return added != nullptr ? &added->form : bpe_.piece(token);
  }

 private:
  class Stream;

  Bpe bpe_;
  std::unique_ptr<const Normalizer> normalizer_;
  std::unique_ptr<const PreTokenizer> pre_tokenizer_;
  Affixes affixes_;
  std::vector<StageFactory> decoder_, piece_decoder_;
  AddedTokens added_;
};

class JsonTokenizer::Stream final : public TokenStream {
 public:
  Stream(const JsonTokenizer& tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special), pipeline_(tokenizer.decoder_) {}

  void push(Token token, std::string& out) override {
    const std::string* piece = tokenizer_.piece_of(token);
    if (piece == nullptr) return;
    // Hugging Face compares the normalised form, so a special token that normalisation changes
    // stays.
    if (skip_special_ && tokenizer_.added_.is_special(*piece)) return;
    pipeline_.push(*piece, out);
  }
  void finish(std::string& out) override { pipeline_.finish(out); }
  std::string held_text() const override { return pipeline_.held_text(); }

 private:
  const JsonTokenizer& tokenizer_;
  bool skip_special_;
  DecodePipeline pipeline_;
};

Result<std::vector<Token>> JsonTokenizer::encode(std::string_view text, bool add_special) const {
  WDMOE_TRY(check_text(text));
  auto segments = added_.extract(text, normalizer_.get());
  if (!segments) return tl::unexpected(std::move(segments).error());

  std::vector<Token> tokens;
  if (add_special) tokens = affixes_.before;
  CachedBpe bpe(bpe_);
  std::vector<Piece> pieces;
  for (Segment& segment : *segments) {
    if (segment.token) {
      tokens.push_back(*segment.token);
      continue;
    }
    pieces.assign(1, std::move(segment.piece));
    if (pre_tokenizer_) WDMOE_TRY(pre_tokenizer_->apply(pieces));
    for (const Piece& piece : pieces) bpe.encode(piece.text, tokens);
  }
  if (add_special) tokens.insert(tokens.end(), affixes_.after.begin(), affixes_.after.end());
  return tokens;
}

std::unique_ptr<TokenStream> JsonTokenizer::stream(bool skip_special) const {
  return std::make_unique<Stream>(*this, skip_special);
}

std::string JsonTokenizer::bytes_of(Token token) const {
  std::string out;
  const std::string* piece = piece_of(token);
  if (piece == nullptr) return out;
  if (is_special(token)) return *piece;
  DecodePipeline pipeline(piece_decoder_);
  pipeline.push(*piece, out);
  pipeline.finish(out);
  return out;
}

std::string JsonTokenizer::decode(Span<const Token> tokens, bool skip_special) const {
  Stream stream(*this, skip_special);
  std::string out;
  for (const Token token : tokens) stream.push(token, out);
  stream.finish(out);
  return out;
}

}  // namespace

Result<void> check_text(std::string_view text) {
  if (text.size() > kMaxTextBytes)
    return fail(Code::limit, "the text has " + std::to_string(text.size()) + " bytes, at most " +
                                 std::to_string(kMaxTextBytes) + " can be tokenized at once");
  if (const std::size_t valid = valid_utf8_prefix(text); valid != text.size())
    return fail(Code::bad_input, "the text is not valid UTF-8 at byte " + std::to_string(valid) +
                                     "; send it as UTF-8");
  return {};
}

Result<std::unique_ptr<const Tokenizer>> parse_tokenizer_json(std::string_view content,
                                                              const std::string& name) {
  if (json_depth(content) > kMaxDepth)
    return fail(Code::limit, name + ": nests deeper than " + std::to_string(kMaxDepth) + " levels");
  const json document = json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded())
    return fail(Code::bad_input, name + ": is not valid JSON; is the file complete?");
  try {
    return std::make_unique<const JsonTokenizer>(Part(document, "tokenizer"));
  } catch (const LoadError& error) {
    return fail(error.code, name + ": " + error.what());
  }
}

Result<std::unique_ptr<const Tokenizer>> load_tokenizer_json(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) return fail(Code::io, file.string() + ": " + error.message());
  if (size > kMaxFileBytes)
    return fail(Code::limit, file.string() + ": " + std::to_string(size) + " bytes, at most " +
                                 std::to_string(kMaxFileBytes) + " are read");
  std::ifstream stream(file, std::ios::binary);
  std::string content(static_cast<std::size_t>(size), '\0');
  if (!stream.read(content.data(), static_cast<std::streamsize>(size)))
    return fail(Code::io, file.string() + ": cannot be read");
  return parse_tokenizer_json(content, file.string());
}

}  // namespace wdmoe::bsd::text
