#include "bsd/model/bpe.h"

#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using namespace wdmoe::bsd;
using namespace wdmoe::bsd::text;
using nlohmann::json;

namespace {

/// The slow twin: again and again merge the best pair, the leftmost of equals.
std::vector<std::string> merge_by_search(std::vector<std::string> symbols, const json& merges) {
  for (;;) {
    std::size_t best_rank = merges.size(), best_at = 0;
    for (std::size_t at = 0; at + 1 < symbols.size(); ++at)
      for (std::size_t rank = 0; rank < best_rank; ++rank)
        if (merges[rank][0] == symbols[at] && merges[rank][1] == symbols[at + 1]) {
          best_rank = rank;
          best_at = at;
        }
    if (best_rank == merges.size()) return symbols;
    symbols[best_at] += symbols[best_at + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

/// A random vocabulary over a, b, c; every merged string is made by one rule only.
json random_model(std::mt19937& random) {
  std::vector<std::string> pieces = {"a", "b", "c"};
  json vocabulary = {{"a", 0}, {"b", 1}, {"c", 2}};
  json merges = json::array();
  while (merges.size() < 40) {
    const std::string left = pieces[random() % pieces.size()];
    const std::string right = pieces[random() % pieces.size()];
    if (vocabulary.contains(left + right) || left.size() + right.size() > 8) continue;
    vocabulary[left + right] = pieces.size();
    pieces.push_back(left + right);
    merges.push_back({left, right});
  }
  return {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}};
}

std::vector<std::string> pieces_of(const Bpe& bpe, std::string_view text) {
  std::vector<Token> ids;
  bpe.encode(text, ids);
  std::vector<std::string> pieces;
  for (const Token id : ids) pieces.push_back(*bpe.piece(id));
  return pieces;
}

/// Through text, as a file would come: numbers written here are signed, those of a file are not.
Bpe make(const json& model) {
  const json parsed = json::parse(model.dump());
  return Bpe(Part(parsed, "model"));
}

std::string error_of(const json& model) {
  try {
    make(model);
  } catch (const LoadError& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("bpe: merges as an exhaustive search does") {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    const json model = random_model(random);
    const Bpe bpe = make(model);
    std::string text;
    std::vector<std::string> letters;
    const std::size_t length = random() % 60;
    for (std::size_t i = 0; i < length; ++i) {
      letters.push_back(std::string(1, static_cast<char>('a' + random() % 3)));
      text += letters.back();
    }
    CAPTURE(text);
    CHECK(pieces_of(bpe, text) == merge_by_search(letters, model["merges"]));
  }
}

TEST_CASE("bpe: both spellings of merges mean the same") {
  const json vocabulary = {{"a", 0}, {"b", 1}, {"ab", 2}};
  const json words = json::array({"a b"}), pairs = json::array({json::array({"a", "b"})});
  for (const json& merges : {words, pairs}) {
    CAPTURE(merges.dump());
    CHECK(pieces_of(make({{"vocab", vocabulary}, {"merges", merges}}), "aab") ==
          std::vector<std::string>{"a", "ab"});
  }
}

TEST_CASE("bpe: what the vocabulary lacks becomes bytes, <unk> or nothing") {
  json vocabulary = {{"<unk>", 0}, {"a", 1}, {"<0xC3>", 2}, {"<0xA9>", 3}};
  const auto with = [&](json settings) {
    settings["vocab"] = vocabulary;
    settings["merges"] = json::array();
    return pieces_of(make(settings), "a\xC3\xA9xya");
  };
  using Pieces = std::vector<std::string>;
  CHECK(with(json::object()) == Pieces{"a", "a"});
  CHECK(with({{"unk_token", "<unk>"}}) == Pieces{"a", "<unk>", "<unk>", "<unk>", "a"});
  CHECK(with({{"unk_token", "<unk>"}, {"fuse_unk", true}}) == Pieces{"a", "<unk>", "a"});
  CHECK(with({{"unk_token", "<unk>"}, {"fuse_unk", true}, {"byte_fallback", true}}) ==
        Pieces{"a", "<0xC3>", "<0xA9>", "<unk>", "a"});
}

TEST_CASE("bpe: ignore_merges takes a whole word from the vocabulary") {
  const json vocabulary = {{"a", 0}, {"b", 1}, {"ab", 2}};
  const json merges = json::array();
  CHECK(pieces_of(make({{"vocab", vocabulary}, {"merges", merges}}), "ab").size() == 2);
  CHECK(pieces_of(make({{"vocab", vocabulary}, {"merges", merges}, {"ignore_merges", true}}), "ab")
            .size() == 1);
}

TEST_CASE("bpe: CachedBpe gives the same ids the second time") {
  std::mt19937 random(11);
  const Bpe bpe = make(random_model(random));
  CachedBpe cached(bpe);
  for (const char* word : {"abc", "aabbcc", "abc", "", "abc"}) {
    std::vector<Token> expected, found;
    bpe.encode(word, expected);
    cached.encode(word, found);
    CHECK(found == expected);
  }
}

TEST_CASE("bpe: a bad or unsupported model is refused by the name of its key") {
  const json good = {{"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", {"a b"}}};
  CHECK(error_of(good).empty());
  const struct {
    const char* name;
    json patch;
    const char* says;
  } cases[] = {
      {"another algorithm", {{"type", "WordPiece"}}, "model.type is WordPiece"},
      {"dropout", {{"dropout", 0.1}}, "model.dropout"},
      {"a prefix", {{"continuing_subword_prefix", "##"}}, "model.continuing_subword_prefix"},
      {"a suffix", {{"end_of_word_suffix", "</w>"}}, "model.end_of_word_suffix"},
      {"an unknown key", {{"surprise", 1}}, "model.surprise"},
      {"vocabulary is no object", {{"vocab", {1, 2}}}, "model.vocab should be an object"},
      {"an id is negative", {{"vocab", {{"a", -1}}}}, "model.vocab['a']"},
      {"an id is huge", {{"vocab", {{"a", 4000000000u}}}}, "model.vocab['a']"},
      {"an id twice", {{"vocab", {{"a", 0}, {"b", 0}}}}, "an id of its own"},
      {"a merge of three", {{"merges", {"a b c"}}}, "model.merges[0]"},
      {"a merge of numbers", {{"merges", {{1, 2}}}}, "model.merges[0]"},
      {"a merge of strangers", {{"merges", {"a x"}}}, "'x' is not"},
      {"a merge into nothing", {{"merges", {"b a"}}}, "'ba' is not"},
      {"unk_token is no token", {{"unk_token", "<unk>"}}, "model.unk_token"},
      {"fuse_unk is no boolean", {{"fuse_unk", 1}}, "model.fuse_unk should be true or false"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.name);
    json model = good;
    model.update(c.patch);
    CHECK(error_of(model).find(c.says) != std::string::npos);
  }
}
