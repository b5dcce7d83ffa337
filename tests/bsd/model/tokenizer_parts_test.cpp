#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "bsd/json_depth.h"
#include "bsd/model/byte_level.h"
#include "bsd/model/splitter.h"
#include "bsd/model/tokenizer_json.h"
#include "bsd/model/utf8.h"

using namespace wdmoe::bsd;
using namespace wdmoe::bsd::text;
using nlohmann::json;

namespace {

using Strings = std::vector<std::string>;

Strings split(Pattern pattern, Behavior behavior, std::string_view text, bool invert = false) {
  std::vector<Piece> pieces;
  REQUIRE(Splitter(std::move(pattern), behavior, invert).split({std::string(text), true}, pieces));
  Strings out;
  for (const Piece& piece : pieces) out.push_back(piece.text);
  return out;
}

json small_tokenizer() {
  return {{"version", "1.0"},
          {"added_tokens", json::array()},
          {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}}}, {"merges", json::array()}}}};
}

std::string error_of(const std::string& content) {
  const auto tokenizer = parse_tokenizer_json(content, "tokenizer.json");
  return tokenizer ? std::string() : tokenizer.error().text;
}

}  // namespace

TEST_CASE("splitter: every behaviour, as the documentation of Hugging Face shows it") {
  const auto at = [](Behavior behavior) {
    return split(Pattern::string("-"), behavior, "the-final--countdown");
  };
  CHECK(at(Behavior::removed) == Strings{"the", "final", "countdown"});
  CHECK(at(Behavior::isolated) == Strings{"the", "-", "final", "-", "-", "countdown"});
  CHECK(at(Behavior::merged_with_previous) == Strings{"the-", "final-", "-", "countdown"});
  CHECK(at(Behavior::merged_with_next) == Strings{"the", "-final", "-", "-countdown"});
  CHECK(at(Behavior::contiguous) == Strings{"the", "-", "final", "--", "countdown"});
}

TEST_CASE("splitter: inverted, what does not match is what counts") {
  CHECK(split(Pattern::regex("[a-z]+"), Behavior::removed, "ab1cd22", true) == Strings{"ab", "cd"});
}

TEST_CASE("splitter: a split keeps every byte, unless it removes") {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (std::size_t i = random() % 12; i > 0; --i)
      append_utf8(text, random() % 3 == 0 ? 0x2581 : 'a' + random() % 2);
    for (const Behavior behavior : {Behavior::isolated, Behavior::merged_with_previous,
                                    Behavior::merged_with_next, Behavior::contiguous}) {
      std::string joined;
      for (const auto& piece : split(Pattern::string("\xE2\x96\x81"), behavior, text)) {
        CHECK_FALSE(piece.empty());
        joined += piece;
      }
      CHECK(joined == text);
    }
  }
}

TEST_CASE("regex: classes mean what Oniguruma means") {
  CHECK(split(Pattern::regex(R"(\s+)"), Behavior::removed,
              "a\xE1\xA0\x8E"
              "b c") == Strings{"a\xE1\xA0\x8E"
                                "b",
                                "c"});  // U+180E is no space
  CHECK(split(Pattern::regex(R"([^\s]+)"), Behavior::isolated,
              "a\xC2\x85"
              "b") == Strings{"a", "\xC2\x85", "b"});  // U+0085 is
  CHECK(split(Pattern::regex(R"(\w+)"), Behavior::isolated, "e\xCC\x81-x") ==
        Strings{"e\xCC\x81", "-", "x"});  // marks belong to words
  CHECK(split(Pattern::regex("^b"), Behavior::removed, "a\nb") ==
        Strings{"a\n"});  // ^ after any \n
  CHECK(split(Pattern::regex("x*"), Behavior::removed, "axxb") ==
        Strings{"a", "b"});  // empty matches
  for (const char* refused : {"[a&&b]", "[a[bc]]", "\\h"}) {
    CAPTURE(refused);
    CHECK_THROWS_AS(Pattern::regex(refused), LoadError);
  }
  CHECK_THROWS_WITH(Pattern::regex("(a"), doctest::Contains("does not compile"));
}

TEST_CASE("regex: a hostile pattern gives up with an error") {
  std::vector<Match> matches;
  const auto found = Pattern::regex("(a+)+$").find(std::string(64, 'a') + "b", matches);
  REQUIRE_FALSE(found);
  CHECK(found.error().code == wdmoe::Code::limit);
}

TEST_CASE("byte level: every byte has a letter of its own and comes back") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string letters = to_byte_level(all);
  CHECK(valid_utf8_prefix(letters) == letters.size());
  CHECK(from_byte_level(letters) == all);
  CHECK(to_byte_level(" ") == "\xC4\xA0");
  CHECK_FALSE(from_byte_level("\xE2\x96\x81"));
}

TEST_CASE("LossyUtf8: the repair does not depend on how bytes are cut") {
  std::mt19937 random(5);
  const std::string_view alphabet = "a\x80\xBF\xC2\xE2\x82\xAC\xF0\x9F\x98\x80\xED\xA0\xF4\x90\xFF";
  for (int round = 0; round < 500; ++round) {
    std::string bytes, whole, cut;
    for (std::size_t i = random() % 12; i > 0; --i) bytes += alphabet[random() % alphabet.size()];
    LossyUtf8 once, piecewise;
    once.push(bytes, whole);
    once.finish(whole);
    for (const char byte : bytes) {
      piecewise.push(std::string_view(&byte, 1), cut);
      CHECK(valid_utf8_prefix(cut) == cut.size());
    }
    piecewise.finish(cut);
    CHECK(cut == whole);
    if (valid_utf8_prefix(bytes) == bytes.size()) CHECK(whole == bytes);
  }
  // Published vector: Unicode 15, table 3-8.
  std::string out;
  LossyUtf8 repair;
  repair.push("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", out);
  repair.finish(out);
  std::string expected;
  for (int i = 0; i < 8; ++i) expected += kReplacement;
  CHECK(out == expected + "A");
}

TEST_CASE("tokenizer.json: what is not implemented fails by name") {
  CHECK(error_of(small_tokenizer().dump()).empty());
  const struct {
    const char* name;
    json patch;
    const char* says;
  } cases[] = {
      {"normalizer",
       {{"normalizer", {{"type", "BertNormalizer"}}}},
       "normalizer.type is BertNormalizer"},
      {"within a sequence",
       {{"normalizer",
         {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Nmt"}}}}}}},
       "normalizer.normalizers[1].type is Nmt"},
      {"unknown setting", {{"normalizer", {{"type", "NFC"}, {"odd", 1}}}}, "normalizer.odd"},
      {"pre-tokenizer", {{"pre_tokenizer", {{"type", "BertPreTokenizer"}}}}, "pre_tokenizer.type"},
      {"behaviour",
       {{"pre_tokenizer",
         {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Odd"}}}},
       "pre_tokenizer.behavior is Odd"},
      {"metaspace scheme",
       {{"pre_tokenizer",
         {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "odd"}}}},
       "pre_tokenizer.prepend_scheme is odd"},
      {"post-processor", {{"post_processor", {{"type", "BertProcessing"}}}}, "post_processor.type"},
      {"template without text",
       {{"post_processor", {{"type", "TemplateProcessing"}, {"single", json::array()}}}},
       "post_processor.single"},
      {"decoder", {{"decoder", {{"type", "CTC"}}}}, "decoder.type is CTC"},
      {"top level", {{"odd", 1}}, "tokenizer.odd"},
      {"model", {{"model", {{"type", "Unigram"}}}}, "tokenizer.model.type is Unigram"},
      {"added token", {{"added_tokens", {{{"content", 3}}}}}, "added_tokens[0].content"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.name);
    json file = small_tokenizer();
    file.update(c.patch);
    const std::string error = error_of(file.dump());
    CAPTURE(error);
    CHECK(error.find(c.says) != std::string::npos);
  }
}

TEST_CASE("tokenizer.json: broken and hostile files are refused, never a crash") {
  CHECK(error_of("").find("not valid JSON") != std::string::npos);
  CHECK(error_of("[]").find("should be an object") != std::string::npos);
  CHECK(error_of(std::string(100'000, '[')).find("nests deeper") != std::string::npos);
  CHECK(json_depth(R"({"a":"[[[\"[["})") == 1);
  const std::string good = small_tokenizer().dump();
  std::mt19937 random(13);
  for (std::size_t length = 0; length < good.size(); ++length)
    CHECK_FALSE(error_of(good.substr(0, length)).empty());
  for (int round = 0; round < 2000; ++round) {
    std::string broken = good;
    broken[random() % broken.size()] ^= static_cast<char>(1u << (random() % 8));
    const auto tokenizer = parse_tokenizer_json(broken, "tokenizer.json");
    if (tokenizer) (void)(*tokenizer)->encode("ab ba", true);
  }
}
