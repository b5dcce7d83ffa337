#include "bsd/model/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "bsd/model/utf8.h"

using namespace wdmoe::bsd;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> golden_folders() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(WDMOE_SOURCE_DIR "/tests/golden/tokenizers"))
    if (entry.is_directory()) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::vector<json> read_lines(const fs::path& file) {
  std::vector<json> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

std::unique_ptr<const Tokenizer> load(const fs::path& folder) {
  auto tokenizer = Tokenizer::load(folder);
  if (!tokenizer) FAIL(tokenizer.error().text);
  return std::move(*tokenizer);
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<Token>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string joined;
  for (const Token id : ids) {
    const std::string piece = decoder.push(id);
    CHECK(text::valid_utf8_prefix(piece) == piece.size());
    joined += piece;
  }
  return joined + decoder.finish();
}

std::string_view without_leading_blanks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(' '), text.size()));
}

void check_decoding(const Tokenizer& tokenizer, const json& line) {
  const auto ids = line["ids"].get<std::vector<Token>>();
  CHECK(tokenizer.decode(ids, false) == line["decoded"].get<std::string>());
  CHECK(tokenizer.decode(ids, true) == line["decoded_skip_special"].get<std::string>());
  CHECK(streamed(tokenizer, ids) == line["decoded_skip_special"].get<std::string>());

  std::string bytes;
  for (const Token id : ids)
    if (!tokenizer.is_special(id)) bytes += tokenizer.bytes_of(id);
  if (text::valid_utf8_prefix(bytes) == bytes.size())
    CHECK(without_leading_blanks(bytes) ==
          without_leading_blanks(line["decoded_skip_special"].get<std::string>()));
}

}  // namespace

TEST_CASE("tokenizer: gives Hugging Face's ids and texts for every golden string") {
  const auto folders = golden_folders();
  REQUIRE(folders.size() >= 5);
  for (const fs::path& folder : folders) {
    SUBCASE(folder.filename().c_str()) {
      const auto tokenizer = load(folder);
      const auto lines = read_lines(folder / "golden.jsonl");
      REQUIRE(lines.size() >= 500);
      for (const json& line : lines) {
        const auto text = line["text"].get<std::string>();
        CAPTURE(text);
        const auto plain = tokenizer->encode(text, false), whole = tokenizer->encode(text, true);
        REQUIRE(plain);
        REQUIRE(whole);
        CHECK(*plain == line["ids_no_special"].get<std::vector<Token>>());
        CHECK(*whole == line["ids"].get<std::vector<Token>>());
        check_decoding(*tokenizer, line);
      }
    }
  }
}

TEST_CASE("tokenizer: decodes lists that no text gives as Hugging Face does") {
  for (const fs::path& folder : golden_folders()) {
    if (!fs::exists(folder / "decode.jsonl")) continue;
    SUBCASE(folder.filename().c_str()) {
      const auto tokenizer = load(folder);
      for (const json& line : read_lines(folder / "decode.jsonl")) {
        CAPTURE(line.dump());
        check_decoding(*tokenizer, line);
      }
    }
  }
}

TEST_CASE("StreamDecoder: the pieces of random lists join to decode()") {
  for (const fs::path& folder : golden_folders()) {
    SUBCASE(folder.filename().c_str()) {
      const auto tokenizer = load(folder);
      std::mt19937 random(20261124);
      // Ids beyond the vocabulary are drawn too: they are skipped.
      const auto end = static_cast<Token>(tokenizer->vocabulary_size() + 3);
      for (int round = 0; round < 300; ++round) {
        // Byte tokens and letters have low ids: half of the lists stay there.
        const Token most = round % 2 == 0 ? end : std::min<Token>(end, 300);
        std::vector<Token> ids(random() % 40);
        for (Token& id : ids) id = static_cast<Token>(random() % most);
        CAPTURE(json(ids).dump());
        CHECK(streamed(*tokenizer, ids) == tokenizer->decode(ids, true));
      }
    }
  }
}

TEST_CASE("StreamDecoder: text that is held back stands if the list ends there") {
  const auto tokenizer = load(WDMOE_SOURCE_DIR "/tests/golden/tokenizers/mixtral");
  std::mt19937 random(20261125);
  std::size_t held = 0;
  for (int round = 0; round < 300; ++round) {
    StreamDecoder decoder(*tokenizer);
    std::vector<Token> ids;
    std::string text;
    for (int i = 0; i < 20; ++i) {
      // Mostly the byte tokens of ASCII, which are text, at times others, which may not be.
      ids.push_back(static_cast<Token>(random() % (random() % 4 == 0 ? 400 : 131)));
      text += decoder.push(ids.back());
      const std::string now = decoder.held_text();
      if (now.empty()) continue;
      ++held;
      CAPTURE(json(ids).dump());
      CHECK(text + now == tokenizer->decode(ids, true));
    }
  }
  CHECK(held > 1000);
}

TEST_CASE("tokenizer: knows its special tokens and their ids") {
  const auto tokenizer = load(WDMOE_SOURCE_DIR "/tests/golden/tokenizers/mixtral");
  const auto bos = tokenizer->token_of("<s>");
  REQUIRE(bos);
  CHECK(tokenizer->is_special(*bos));
  CHECK_FALSE(tokenizer->token_of("no such piece"));
  CHECK_FALSE(tokenizer->is_special(4'000'000'000u));
  CHECK(tokenizer->vocabulary_size() > *bos);
}

TEST_CASE("tokenizer: a token's bytes are those it adds amid a text") {
  const auto mixtral = load(WDMOE_SOURCE_DIR "/tests/golden/tokenizers/mixtral");
  CHECK(mixtral->bytes_of(mixtral->token_of("\xE2\x96\x81the").value()) == " the");
  CHECK(mixtral->bytes_of(mixtral->token_of("<0xE2>").value()) == "\xE2");
  CHECK(mixtral->bytes_of(mixtral->token_of("<s>").value()) == "<s>");
  CHECK(mixtral->bytes_of(0xFFFFFFFF).empty());
  const auto qwen = load(WDMOE_SOURCE_DIR "/tests/golden/tokenizers/qwen2");
  CHECK(qwen->bytes_of(qwen->token_of("\xC3\xA2").value()) == "\xE2");  // a byte's letter
}

TEST_CASE("tokenizer: invalid UTF-8 is refused with its byte offset") {
  const struct {
    const char* name;
    std::string text;
    const char* at;
  } cases[] = {
      {"a lone continuation byte", "ab\x80", "byte 2"},
      {"an overlong slash", "\xC0\xAF", "byte 0"},
      {"a surrogate", "x\xED\xA0\x80", "byte 1"},
      {"beyond U+10FFFF", "\xF4\x90\x80\x80", "byte 0"},
      {"a character cut short", "euro \xE2\x82", "byte 5"},
      {"FF after a long ASCII run", std::string(100, 'a') + "\xFF", "byte 100"},
  };
  for (const auto& folder : golden_folders()) {
    const auto tokenizer = load(folder);
    for (const auto& c : cases) {
      CAPTURE(folder.string());
      CAPTURE(c.name);
      const auto ids = tokenizer->encode(c.text, true);
      REQUIRE_FALSE(ids);
      CHECK(ids.error().code == wdmoe::Code::bad_input);
      CHECK(ids.error().text.find(c.at) != std::string::npos);
    }
  }
}

TEST_CASE(
    "tokenizer: long texts without blanks stay linear, longer ones than the bound are refused") {
  for (const auto& folder : golden_folders()) {
    const auto tokenizer = load(folder);
    CAPTURE(folder.string());
    // A quadratic merge of a million letters would run into the test's time limit.
    for (const std::string& unit : {std::string("a"), std::string("ab"), std::string(" "),
                                    std::string("\xE4\xBD\xA0"), std::string("\n")}) {
      std::string text;
      while (text.size() < (std::size_t{1} << 20)) text += unit;
      CHECK(tokenizer->encode(text, false));
    }
    const auto refused = tokenizer->encode(std::string((std::size_t{16} << 20) + 1, 'a'), false);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == wdmoe::Code::limit);
  }
}

TEST_CASE("tokenizer: a folder without a tokenizer says what to put there") {
  const auto missing = Tokenizer::load(WDMOE_SOURCE_DIR "/tests/golden");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == wdmoe::Code::not_found);
  CHECK(missing.error().text.find("tokenizer.json") != std::string::npos);
}
