#include "bsd/model/sentencepiece_tokenizer.h"

#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>
#include <sentencepiece_processor.h>

#include "bsd/json_depth.h"
#include "bsd/model/token_decoder.h"
#include "bsd/model/tokenizer_json.h"
#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

using sentencepiece::SentencePieceProcessor;

constexpr std::uintmax_t kMaxModelBytes = std::uintmax_t{64} << 20;
constexpr std::uintmax_t kMaxConfigBytes = std::uintmax_t{4} << 20;
constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581 stands for a space

struct Affixed {
  bool bos = true, eos = false;
};

/// How this model's decoder treats blanks at the very beginning; the library keeps it to itself, so
/// it is asked.
struct LeadingBlanks {
  bool drops_first = false, drops_all = false;
};

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceProcessor> library, Affixed affixed)
      : library_(std::move(library)), affixed_(affixed) {
    const auto decoded = [this](std::vector<int> ids) {
      std::string text;
      return library_->Decode(ids, &text).ok() ? text : std::string();
    };
    // A vocabulary without a blank of its own never begins a text with a lone one.
    if (const auto blank = token_of(kBlank)) {
      const int id = static_cast<int>(*blank);
      leading_.drops_first = decoded({id}).empty();
      leading_.drops_all = decoded({id, id}).empty();
    }
    if (library_->unk_id() >= 0) unknown_text_ = decoded({library_->unk_id()});
  }

  Result<std::vector<Token>> encode(std::string_view text, bool add_special) const override {
    WDMOE_TRY(check_text(text));
    std::vector<int> ids;
    if (const auto status = library_->Encode(text, &ids); !status.ok())
      return fail(Code::bad_input, "SentencePiece: " + status.ToString());
    std::vector<Token> tokens;
    tokens.reserve(ids.size() + 2);
    if (add_special && affixed_.bos && library_->bos_id() >= 0)
      tokens.push_back(static_cast<Token>(library_->bos_id()));
    for (const int id : ids) tokens.push_back(static_cast<Token>(id));
    if (add_special && affixed_.eos && library_->eos_id() >= 0)
      tokens.push_back(static_cast<Token>(library_->eos_id()));
    return tokens;
  }

  std::string decode(Span<const Token> tokens, bool skip_special) const override {
    const auto decoder = stream(skip_special);
    std::string out;
    for (const Token token : tokens) decoder->push(token, out);
    decoder->finish(out);
    return out;
  }

  std::string bytes_of(Token token) const override {
    if (!knows(token)) return {};
    const int id = static_cast<int>(token);
    if (library_->IsUnknown(id)) return unknown_text_;
    const std::string& piece = library_->IdToPiece(id);
    if (library_->IsByte(id)) return std::string(1, static_cast<char>(byte_of_token(piece)));
    std::string text;
    for (std::size_t at = 0; at < piece.size();) {
      const bool blank = piece.compare(at, kBlank.size(), kBlank) == 0;
      text += blank ? ' ' : piece[at];
      at += blank ? kBlank.size() : 1;
    }
    return text;
  }

  std::unique_ptr<TokenStream> stream(bool skip_special) const override;

  std::size_t vocabulary_size() const override {
    return static_cast<std::size_t>(library_->GetPieceSize());
  }
  bool is_special(Token token) const override {
    return knows(token) && library_->IsControl(static_cast<int>(token));
  }
  std::optional<Token> token_of(std::string_view piece) const override {
    const int id = library_->PieceToId(piece);
    if (!knows(static_cast<Token>(id)) || library_->IdToPiece(id) != piece) return std::nullopt;
    return static_cast<Token>(id);
  }

 private:
  class Stream;
  bool knows(Token token) const { return token < vocabulary_size(); }

  std::unique_ptr<SentencePieceProcessor> library_;
  Affixed affixed_;
  LeadingBlanks leading_;
  std::string unknown_text_;  // what the unknown token decodes to
};

/// SentencePieceProcessor::Decode, one token at a time (the library has no streaming).  Control
/// pieces have no text, so skipping them or not is the same.
class SentencePieceTokenizer::Stream final : public TokenStream {
 public:
  explicit Stream(const SentencePieceTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void push(Token token, std::string& out) override {
    if (!tokenizer_.knows(token)) return;
    const int id = static_cast<int>(token);
    const SentencePieceProcessor& library = *tokenizer_.library_;
    if (library.IsByte(id)) return push_byte(library.IdToPiece(id), out);
    end_bytes(out);
    if (blank_dropped_ || text_seen_) at_start_ = false;
    blank_dropped_ = false;
    if (library.IsControl(id)) return;
    if (library.IsUnknown(id)) return write(tokenizer_.unknown_text_, out);
    write_piece(library.IdToPiece(id), out);
  }

  void finish(std::string& out) override { end_bytes(out); }

 private:
  void write(std::string_view text, std::string& out) {
    if (!text.empty()) text_seen_ = true;
    out += text;
  }

  void write_piece(std::string_view piece, std::string& out) {
    const LeadingBlanks& leading = tokenizer_.leading_;
    if (at_start_ && leading.drops_first && piece.substr(0, kBlank.size()) == kBlank) {
      piece.remove_prefix(kBlank.size());
      blank_dropped_ = !leading.drops_all;
    }
    for (;;) {
      const std::size_t blank = piece.find(kBlank);
      write(piece.substr(0, blank), out);
      if (blank == std::string_view::npos) return;
      write(" ", out);
      piece.remove_prefix(blank + kBlank.size());
    }
  }

  void push_byte(const std::string& piece, std::string& out) {
    bytes_ += static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16));
    write_bytes(/*at_end=*/false, out);
  }
  void end_bytes(std::string& out) { write_bytes(/*at_end=*/true, out); }

  /// Whole characters go out; a byte that cannot belong to one becomes U+FFFD on its own.
  void write_bytes(bool at_end, std::string& out) {
    while (!bytes_.empty()) {
      const Beginning beginning = beginning_of(bytes_);
      if (beginning == Beginning::partial && !at_end) return;
      std::size_t length = 1;
      if (beginning == Beginning::whole) next_char(bytes_, 0, length);
      write(
          beginning == Beginning::whole ? std::string_view(bytes_).substr(0, length) : kReplacement,
          out);
      bytes_.erase(0, length);
    }
  }

  const SentencePieceTokenizer& tokenizer_;
  std::string bytes_;  // of an unfinished character
  bool at_start_ = true, blank_dropped_ = false, text_seen_ = false;
};

std::unique_ptr<TokenStream> SentencePieceTokenizer::stream(bool) const {
  return std::make_unique<Stream>(*this);
}

Result<std::string> read_bounded(const std::filesystem::path& file, std::uintmax_t most) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) return fail(Code::io, file.string() + ": " + error.message());
  if (size > most)
    return fail(Code::limit, file.string() + ": " + std::to_string(size) + " bytes, at most " +
                                 std::to_string(most) + " are read");
  std::ifstream stream(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

Result<Affixed> read_affixed(const std::filesystem::path& file) {
  Affixed affixed;
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return affixed;
  const auto content = read_bounded(file, kMaxConfigBytes);
  if (!content) return tl::unexpected(content.error());
  constexpr std::size_t kMaxDepth = 32;
  const auto config = json_depth(*content) > kMaxDepth
                          ? nlohmann::json()
                          : nlohmann::json::parse(*content, nullptr, false);
  if (!config.is_object())
    return fail(Code::bad_input, file.string() + ": is not a JSON object; is the file complete?");
  const auto flag = [&](const char* key, bool& value) {
    const auto found = config.find(key);
    if (found != config.end() && found->is_boolean()) value = found->get<bool>();
  };
  flag("add_bos_token", affixed.bos);
  flag("add_eos_token", affixed.eos);
  return affixed;
}

}  // namespace

Result<std::unique_ptr<const Tokenizer>> load_sentencepiece(const std::filesystem::path& file) {
  auto content = read_bounded(file, kMaxModelBytes);
  if (!content) return tl::unexpected(std::move(content).error());
  const auto affixed = read_affixed(file.parent_path() / "tokenizer_config.json");
  if (!affixed) return tl::unexpected(affixed.error());
  auto library = std::make_unique<SentencePieceProcessor>();
  if (const auto status = library->LoadFromSerializedProto(*content); !status.ok())
    return fail(Code::bad_input,
                file.string() + ": not a SentencePiece model: " + status.ToString());
  return std::make_unique<const SentencePieceTokenizer>(std::move(library), *affixed);
}

}  // namespace wdmoe::bsd::text
