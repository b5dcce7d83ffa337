#include "bsd/model/token_decoder.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "bsd/model/byte_level.h"
#include "bsd/model/metaspace.h"
#include "bsd/model/regex.h"
#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

/// A stage that is copied as it stands.
template <class Self>
class Stage : public DecodeStage {
 public:
  std::unique_ptr<DecodeStage> clone() const final {
    return std::make_unique<Self>(static_cast<const Self&>(*this));
  }
};

/// Without a decoder Hugging Face puts a blank between tokens.
class JoinWithBlanks final : public Stage<JoinWithBlanks> {
 public:
  void push(std::string_view piece, const Next& next) override {
    if (!first_) next(" ");
    first_ = false;
    next(piece);
  }
  void finish(const Next&) override {}

 private:
  bool first_ = true;
};

class ReplaceInToken final : public Stage<ReplaceInToken> {
 public:
  ReplaceInToken(const Pattern& pattern, const std::string& content)
      : pattern_(pattern), content_(content) {}
  void push(std::string_view piece, const Next& next) override {
    std::string out;
    if (!pattern_.find(piece, matches_)) return next(piece);  // gave up: leave the token as it is
    for (const Match& match : matches_)
      out += match.matched ? std::string_view(content_)
                           : piece.substr(match.begin, match.end - match.begin);
    next(out);
  }
  void finish(const Next&) override {}

 private:
  Pattern pattern_;
  std::string content_;
  std::vector<Match> matches_;
};

/// A run of byte tokens is text only if all of it is valid UTF-8; otherwise each byte is one
/// U+FFFD. That is known at the run's end, so the run is held back until then.
class ByteFallback final : public Stage<ByteFallback> {
 public:
  void push(std::string_view piece, const Next& next) override {
    if (const int byte = byte_of_token(piece); byte >= 0) {
      run_ += static_cast<char>(byte);
      return;
    }
    finish(next);
    next(piece);
  }
  void finish(const Next& next) override {
    if (run_.empty()) return;
    if (valid_utf8_prefix(run_) == run_.size()) {
      next(run_);
    } else {
      for (std::size_t i = 0; i < run_.size(); ++i) next(kReplacement);
    }
    run_.clear();
  }
  bool holds_text() const override {
    return !run_.empty() && valid_utf8_prefix(run_) == run_.size();
  }

 private:
  std::string run_;
};

/// Cuts `start` and `stop` characters `content` off each token's ends; of a fused text, off its
/// ends.
class StripToken final : public Stage<StripToken> {
 public:
  StripToken(char32_t content, std::size_t start, std::size_t stop, bool fused)
      : content_(to_utf8(content)), start_(start), stop_(stop), fused_(fused), left_(start) {}

  void push(std::string_view piece, const Next& next) override {
    while (left_ > 0 && piece.substr(0, content_.size()) == content_) {
      piece.remove_prefix(content_.size());
      --left_;
    }
    if (!piece.empty()) left_ = 0;
    if (!fused_) {
      end_token(piece, next);
      left_ = start_;
    } else if (stop_ == 0) {
      next(piece);
    } else {
      hold(piece, next);
    }
  }
  void finish(const Next& next) override {
    if (fused_ && stop_ > 0) end_token(held_, next);
    held_.clear();
  }

 private:
  /// Gives on all but the last characters that might yet be cut off.
  void hold(std::string_view piece, const Next& next) {
    held_ += piece;
    std::size_t keep = 0;
    const std::string_view all = held_;
    while (keep < all.size() && all.substr(0, all.size() - keep).ends_with(content_))
      keep += content_.size();
    next(all.substr(0, all.size() - keep));
    held_ = std::string(all.substr(all.size() - keep));
  }
  void end_token(std::string_view piece, const Next& next) const {
    for (std::size_t i = 0; i < stop_ && piece.ends_with(content_); ++i)
      piece.remove_suffix(content_.size());
    next(piece);
  }

  std::string content_;
  std::size_t start_, stop_;
  bool fused_;
  std::size_t left_;  // characters that may still be cut at the front
  std::string held_;
};

/// Letters of the byte alphabet become bytes; a token with any other character stands for its own.
class ByteLevelDecoder final : public Stage<ByteLevelDecoder> {
 public:
  void push(std::string_view piece, const Next& next) override {
    std::string out;
    if (const auto bytes = from_byte_level(piece)) {
      repair_.push(*bytes, out);
    } else {
      repair_.push(piece, out);
    }
    if (!out.empty()) next(out);
  }
  void finish(const Next& next) override {
    std::string out;
    repair_.finish(out);
    if (!out.empty()) next(out);
  }

 private:
  LossyUtf8 repair_;
};

class MetaspaceDecoder final : public Stage<MetaspaceDecoder> {
 public:
  MetaspaceDecoder(Metaspace settings, bool fused)
      : settings_(settings), mark_(to_utf8(settings.replacement)), fused_(fused) {}

  void push(std::string_view piece, const Next& next) override {
    const bool drops = first_ && settings_.prepend != Metaspace::Prepend::never;
    std::string out;
    for (std::size_t at = 0, end = 0; at < piece.size(); at = end) {
      next_char(piece, at, end);
      const std::string_view letter = piece.substr(at, end - at);
      if (letter != mark_) {
        out += letter;
      } else if (!drops) {
        out += ' ';
      }
    }
    first_ = fused_;  // a fused text is its own first token throughout
    next(out);
  }
  void finish(const Next&) override {}

 private:
  Metaspace settings_;
  std::string mark_;
  bool fused_;
  bool first_ = true;
};

/// A byte token's byte, be it text or a part of it.
class RawByteFallback final : public Stage<RawByteFallback> {
 public:
  void push(std::string_view piece, const Next& next) override {
    const int byte = byte_of_token(piece);
    next(byte >= 0 ? std::string(1, static_cast<char>(byte)) : std::string(piece));
  }
  void finish(const Next&) override {}
};

class RawByteLevel final : public Stage<RawByteLevel> {
 public:
  void push(std::string_view piece, const Next& next) override {
    const auto bytes = from_byte_level(piece);
    next(bytes ? std::string_view(*bytes) : piece);
  }
  void finish(const Next&) override {}
};

/// Gathers a fused text for a stage that must see all of it.
class Gather final : public Stage<Gather> {
 public:
  void push(std::string_view piece, const Next&) override { all_ += piece; }
  void finish(const Next& next) override { next(all_); }

 private:
  std::string all_;
};

/// Collects stages; knows whether a Fuse has made one string of all tokens.
class Builder {
 public:
  /// `raw`: of one token amid others, see piece_decoder_from().
  explicit Builder(bool raw) : raw_(raw) {}
  void add(const nlohmann::json& decoder, const std::string& path);
  std::vector<StageFactory> take() { return std::move(stages_); }

 private:
  template <class Kind, class... Settings>
  void stage(Settings... settings) {
    stages_.push_back([settings...] { return std::make_unique<Kind>(settings...); });
  }
  /// The next stage needs whole tokens: of a fused text that is everything.
  void need_whole() {
    if (fused_ && !raw_) stage<Gather>();
  }
  void add_sequence(const Part& part);

  const bool raw_;
  std::vector<StageFactory> stages_;
  bool fused_ = false;
};

void Builder::add_sequence(const Part& part) {
  part.only({"type", "decoders"});
  const auto& elements = part.array("decoders");
  for (std::size_t i = 0; i < elements.size(); ++i)
    add(elements[i], part.part("decoders", i, elements[i]).path());
}

void Builder::add(const nlohmann::json& decoder, const std::string& path) {
  const Part part(decoder, path);
  const std::string type = part.string("type");
  if (type == "Sequence") return add_sequence(part);
  if (type == "Replace") {
    part.only({"type", "pattern", "content"});
    need_whole();
    return stage<ReplaceInToken>(Pattern::from(part.part("pattern")), part.string("content"));
  }
  if (type == "Strip") {
    part.only({"type", "content", "start", "stop"});
    if (raw_) return;
    constexpr std::size_t kMostStripped = 1024;
    return stage<StripToken>(part.character("content"), part.number("start", kMostStripped),
                             part.number("stop", kMostStripped), fused_);
  }
  if (type == "Metaspace") {
    Metaspace settings = Metaspace::from(part);
    if (raw_) settings.prepend = Metaspace::Prepend::never;
    return stage<MetaspaceDecoder>(settings, fused_);
  }
  if (type == "ByteLevel") {
    part.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});  // of no effect here
    need_whole();
    if (raw_) return stage<RawByteLevel>();
    stage<ByteLevelDecoder>();
    fused_ = true;
    return;
  }
  part.only({"type"});
  if (type == "ByteFallback") {
    need_whole();
    if (raw_) return stage<RawByteFallback>();
    stage<ByteFallback>();
  } else if (type == "Fuse") {
    fused_ = true;
  } else {
    part.unsupported("type", type,
                     "Replace, ByteFallback, Fuse, Strip, ByteLevel, Metaspace or Sequence");
  }
}

}  // namespace

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  int byte = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    byte = byte * 16 + digit;
  }
  return byte;
}

DecodePipeline::DecodePipeline(const std::vector<StageFactory>& factories) {
  for (const StageFactory& make : factories) stages_.push_back(make());
}

void DecodePipeline::push_from(std::size_t stage, std::string_view piece, std::string& out) {
  if (stage == stages_.size()) {
    out += piece;
    return;
  }
  stages_[stage]->push(piece,
                       [&, stage](std::string_view onward) { push_from(stage + 1, onward, out); });
}

void DecodePipeline::finish(std::string& out) {
  for (std::size_t stage = 0; stage < stages_.size(); ++stage)
    stages_[stage]->finish(
        [&, stage](std::string_view onward) { push_from(stage + 1, onward, out); });
}

std::string DecodePipeline::held_text() const {
  std::string out;
  if (std::none_of(stages_.begin(), stages_.end(),
                   [](const auto& stage) { return stage->holds_text(); }))
    return out;
  DecodePipeline ended{{}};
  for (const auto& stage : stages_) ended.stages_.push_back(stage->clone());
  ended.finish(out);
  return out;
}

std::vector<StageFactory> decoder_from(const nlohmann::json& decoder) {
  if (decoder.is_null()) return {[] { return std::make_unique<JoinWithBlanks>(); }};
  Builder builder(/*raw=*/false);
  builder.add(decoder, "decoder");
  return builder.take();
}

std::vector<StageFactory> piece_decoder_from(const nlohmann::json& decoder) {
  Builder builder(/*raw=*/true);
  if (!decoder.is_null()) builder.add(decoder, "decoder");
  return builder.take();
}

}  // namespace wdmoe::bsd::text
