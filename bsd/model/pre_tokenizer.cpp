#include "bsd/model/pre_tokenizer.h"

#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "bsd/model/byte_level.h"
#include "bsd/model/metaspace.h"
#include "bsd/model/splitter.h"
#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

// The pattern of GPT-2 (openai/gpt-2, src/encoder.py), which ByteLevel's use_regex means.
constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class Split final : public PreTokenizer {
 public:
  explicit Split(Splitter splitter) : splitter_(std::move(splitter)) {}

  Result<void> apply(std::vector<Piece>& pieces) const override {
    std::vector<Piece> out;
    for (const Piece& piece : pieces) WDMOE_TRY(splitter_.split(piece, out));
    pieces = std::move(out);
    return {};
  }

 private:
  Splitter splitter_;
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space) {
    if (use_regex) splitter_.emplace(Pattern::regex(kGpt2), Behavior::isolated);
  }

  Result<void> apply(std::vector<Piece>& pieces) const override {
    std::vector<Piece> out;
    for (Piece& piece : pieces) {
      if (add_prefix_space_ && piece.text.front() != ' ') piece.text.insert(0, 1, ' ');
      if (splitter_) {
        WDMOE_TRY(splitter_->split(piece, out));
      } else {
        out.push_back(std::move(piece));
      }
    }
    for (Piece& piece : out) piece.text = to_byte_level(piece.text);
    pieces = std::move(out);
    return {};
  }

 private:
  bool add_prefix_space_;
  std::optional<Splitter> splitter_;
};

class MetaspaceSplit final : public PreTokenizer {
 public:
  explicit MetaspaceSplit(Metaspace settings)
      : settings_(settings),
        mark_(to_utf8(settings.replacement)),
        at_mark_(Pattern::string(mark_), Behavior::merged_with_next) {}

  Result<void> apply(std::vector<Piece>& pieces) const override {
    std::vector<Piece> out;
    for (Piece& piece : pieces) {
      mark(piece);
      if (settings_.split) {
        WDMOE_TRY(at_mark_.split(piece, out));
      } else {
        out.push_back(std::move(piece));
      }
    }
    pieces = std::move(out);
    return {};
  }

 private:
  void mark(Piece& piece) const {
    std::string marked;
    marked.reserve(piece.text.size() + piece.text.size() / 2 + mark_.size());
    for (const char c : piece.text) {
      if (c == ' ') {
        marked += mark_;
      } else {
        marked += c;
      }
    }
    const bool wants = settings_.prepend == Metaspace::Prepend::always ||
                       (settings_.prepend == Metaspace::Prepend::first && piece.at_start);
    if (wants && marked.compare(0, mark_.size(), mark_) != 0) marked.insert(0, mark_);
    piece.text = std::move(marked);
  }

  Metaspace settings_;
  std::string mark_;
  Splitter at_mark_;
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<const PreTokenizer>> steps)
      : steps_(std::move(steps)) {}
  Result<void> apply(std::vector<Piece>& pieces) const override {
    for (const auto& step : steps_) WDMOE_TRY(step->apply(pieces));
    return {};
  }

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> steps_;
};

std::unique_ptr<const PreTokenizer> make_split(Pattern pattern, Behavior behavior,
                                               bool invert = false) {
  return std::make_unique<Split>(Splitter(std::move(pattern), behavior, invert));
}

std::unique_ptr<const PreTokenizer> sequence_of_pre_tokenizers(const Part& part) {
  part.only({"type", "pretokenizers"});
  std::vector<std::unique_ptr<const PreTokenizer>> steps;
  const auto& elements = part.array("pretokenizers");
  for (std::size_t i = 0; i < elements.size(); ++i)
    steps.push_back(
        PreTokenizer::from(elements[i], part.part("pretokenizers", i, elements[i]).path()));
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

std::unique_ptr<const PreTokenizer> simple(const Part& part, const std::string& type) {
  if (type == "Digits") {
    part.only({"type", "individual_digits"});
    const bool each = part.boolean("individual_digits", false);
    return make_split(Pattern::characters(is_numeric),
                      each ? Behavior::isolated : Behavior::contiguous);
  }
  if (type == "Punctuation") {
    part.only({"type", "behavior"});
    return make_split(Pattern::characters(is_punctuation),
                      behavior_from(part, "behavior", "Isolated"));
  }
  part.only({"type"});
  if (type == "Whitespace")
    return make_split(Pattern::regex(R"(\w+|[^\w\s]+)"), Behavior::removed, true);
  if (type == "WhitespaceSplit")
    return make_split(Pattern::characters(is_white_space), Behavior::removed);
  part.unsupported("type", type,
                   "ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit "
                   "or Sequence");
}

}  // namespace

std::unique_ptr<const PreTokenizer> PreTokenizer::from(const nlohmann::json& value,
                                                       const std::string& path) {
  if (value.is_null()) return nullptr;
  const Part part(value, path);
  const std::string type = part.string("type");
  if (type == "Sequence") return sequence_of_pre_tokenizers(part);
  if (type == "Split") {
    part.only({"type", "pattern", "behavior", "invert"});
    return make_split(Pattern::from(part.part("pattern")), behavior_from(part, "behavior", ""),
                      part.boolean("invert", false));
  }
  if (type == "ByteLevel") {
    part.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    return std::make_unique<ByteLevel>(part.boolean("add_prefix_space", true),
                                       part.boolean("use_regex", true));
  }
  if (type == "Metaspace") return std::make_unique<MetaspaceSplit>(Metaspace::from(part));
  return simple(part, type);
}

}  // namespace wdmoe::bsd::text
