#include "bsd/model/normalizer.h"

#include <cstdlib>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>
#include <utf8proc.h>

#include "bsd/model/byte_level.h"
#include "bsd/model/regex.h"
#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(unsigned options) : options_(static_cast<utf8proc_option_t>(options)) {}

  Result<void> apply(Piece& piece) const override {
    if (is_ascii(piece.text)) return {};  // every form leaves ASCII alone
    utf8proc_uint8_t* mapped = nullptr;
    const utf8proc_ssize_t size =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(piece.text.data()),
                     static_cast<utf8proc_ssize_t>(piece.text.size()), &mapped, options_);
    if (size < 0)
      return fail(Code::bad_input, std::string("normalising: ") + utf8proc_errmsg(size));
    piece.text.assign(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size));
    std::free(mapped);  // NOLINT: utf8proc_map's contract
    return {};
  }

 private:
  utf8proc_option_t options_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  Result<void> apply(Piece& piece) const override {
    if (!piece.text.empty()) piece.text.insert(0, prefix_);
    return {};
  }

 private:
  std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  Result<void> apply(Piece& piece) const override {
    std::vector<Match> matches;
    WDMOE_TRY(pattern_.find(piece.text, matches));
    std::string out;
    out.reserve(piece.text.size());
    for (const Match& match : matches) {
      if (!match.matched) {
        out.append(piece.text, match.begin, match.end - match.begin);
        continue;
      }
      if (match.begin == 0 && content_.empty()) piece.at_start = false;
      out += content_;
    }
    piece.text = std::move(out);
    return {};
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  Result<void> apply(Piece& piece) const override {
    std::string_view rest = piece.text;
    std::size_t cut = 0;
    while (left_ && !rest.empty() && is_white_space(next_char(rest, 0, cut)))
      rest.remove_prefix(cut);
    if (rest.size() < piece.text.size()) piece.at_start = false;
    while (right_ && !rest.empty() && is_white_space(last_char(rest, cut)))
      rest = rest.substr(0, cut);
    piece.text = std::string(rest);
    return {};
  }

 private:
  bool left_, right_;
};

class Lowercase final : public Normalizer {
 public:
  Result<void> apply(Piece& piece) const override {
    std::string out;
    out.reserve(piece.text.size());
    for (std::size_t at = 0; at < piece.text.size();) {
      const char32_t c = next_char(piece.text, at, at);
      if (c == 0x130) {  // the one character whose lower case is two
        out += "i\xCC\x87";
        continue;
      }
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
    piece.text = std::move(out);
    return {};
  }
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  Result<void> apply(Piece& piece) const override {
    piece.text = to_byte_level(piece.text);
    return {};
  }
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<const Normalizer>> steps)
      : steps_(std::move(steps)) {}
  Result<void> apply(Piece& piece) const override {
    for (const auto& step : steps_) WDMOE_TRY(step->apply(piece));
    return {};
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> steps_;
};

constexpr unsigned kCompose = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
constexpr unsigned kDecompose = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;

std::unique_ptr<const Normalizer> sequence_of_normalizers(const Part& part) {
  part.only({"type", "normalizers"});
  std::vector<std::unique_ptr<const Normalizer>> steps;
  const auto& elements = part.array("normalizers");
  for (std::size_t i = 0; i < elements.size(); ++i)
    steps.push_back(Normalizer::from(elements[i], part.part("normalizers", i, elements[i]).path()));
  return std::make_unique<NormalizerSequence>(std::move(steps));
}

}  // namespace

std::unique_ptr<const Normalizer> Normalizer::from(const nlohmann::json& value,
                                                   const std::string& path) {
  if (value.is_null()) return nullptr;
  const Part part(value, path);
  const std::string type = part.string("type");
  if (type == "Sequence") return sequence_of_normalizers(part);
  if (type == "Prepend") {
    part.only({"type", "prepend"});
    return std::make_unique<Prepend>(part.string("prepend"));
  }
  if (type == "Replace") {
    part.only({"type", "pattern", "content"});
    return std::make_unique<Replace>(Pattern::from(part.part("pattern")), part.string("content"));
  }
  if (type == "Strip") {
    part.only({"type", "strip_left", "strip_right"});
    return std::make_unique<Strip>(part.boolean("strip_left", true),
                                   part.boolean("strip_right", true));
  }
  part.only({"type"});
  if (type == "NFC") return std::make_unique<UnicodeForm>(kCompose);
  if (type == "NFD") return std::make_unique<UnicodeForm>(kDecompose);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(kCompose | UTF8PROC_COMPAT);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(kDecompose | UTF8PROC_COMPAT);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  part.unsupported(
      "type", type,
      "NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, Lowercase, ByteLevel or Sequence");
}

}  // namespace wdmoe::bsd::text
