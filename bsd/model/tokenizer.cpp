#include "bsd/model/tokenizer.h"

#include <system_error>

#include "bsd/model/sentencepiece_tokenizer.h"
#include "bsd/model/tokenizer_json.h"
#include "bsd/model/utf8.h"

namespace wdmoe::bsd {
namespace {

/// The stream of a tokenizer that has only decode(): whatever an unfinished last character cannot
/// change is final.
class RedecodingStream final : public TokenStream {
 public:
  RedecodingStream(const Tokenizer& tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  void push(Token token, std::string& out) override {
    tokens_.push_back(token);
    std::string all = tokenizer_.decode(tokens_, skip_special_);
    std::string_view sure = all;
    while (sure.ends_with(text::kReplacement)) sure.remove_suffix(text::kReplacement.size());
    emit(sure, out);
  }
  void finish(std::string& out) override { emit(tokenizer_.decode(tokens_, skip_special_), out); }

 private:
  void emit(std::string_view all, std::string& out) {
    if (all.size() <= emitted_) return;
    out += all.substr(emitted_);
    emitted_ = all.size();
  }

  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<Token> tokens_;
  std::size_t emitted_ = 0;
};

}  // namespace

std::string Tokenizer::bytes_of(Token token) const {
  return decode(Span<const Token>(&token, 1), false);
}

std::unique_ptr<TokenStream> Tokenizer::stream(bool skip_special) const {
  return std::make_unique<RedecodingStream>(*this, skip_special);
}

Result<std::unique_ptr<const Tokenizer>> Tokenizer::load(const std::filesystem::path& directory) {
  std::error_code error;
  if (const auto json = directory / "tokenizer.json"; std::filesystem::exists(json, error))
    return text::load_tokenizer_json(json);
  if (const auto model = directory / "tokenizer.model"; std::filesystem::exists(model, error))
    return text::load_sentencepiece(model);
  return fail(Code::not_found, directory.string() +
                                   ": no tokenizer.json and no tokenizer.model; copy the one that "
                                   "belongs to the model there");
}

std::string StreamDecoder::push(Token token) {
  std::string out;
  stream_->push(token, out);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  stream_->finish(out);
  return out;
}

}  // namespace wdmoe::bsd
