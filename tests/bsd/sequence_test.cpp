#include "bsd/sequence.h"

#include <doctest/doctest.h>

#include "tests/support/local_model.h"
#include "tests/support/tiny_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

/// Lets `sequence` sample exactly `token`.
TokenEvent accept(Sequence& sequence, Token token, std::size_t vocabulary) {
  std::vector<float> logits(vocabulary, 0.0f);
  logits[token] = 100;
  std::vector<TokenEvent> events;
  sequence.accept({logits.data(), 1, vocabulary}, events);
  REQUIRE(events.size() == 1);
  return events.front();
}

}  // namespace

TEST_CASE("sequence: a stop string of byte tokens ends the text with its last byte") {
  const test::TinyModel files;
  test::LocalModel model(files.path());
  const auto tokenizer =
      Tokenizer::load(WDMOE_SOURCE_DIR "/tests/golden/tokenizers/mixtral").value();
  const auto id = [&](const char* piece) { return tokenizer->token_of(piece).value(); };
  struct Case {
    const char* name;
    const char* stop;
    std::vector<Token> tokens;  // the last one completes the stop string
    const char* text;
  };
  const Case cases[] = {
      {"one byte", "\n", {id("a"), id("<0x0A>")}, "a"},
      {"text before it in the run", "\n", {id("<0x61>"), id("<0x62>"), id("<0x0A>")}, "ab"},
      {"a character of three bytes",
       "\xE2\x82\xAC",
       {id("b"), id("<0xE2>"), id("<0x82>"), id("<0xAC>")},
       "b"},
      {"letters, then bytes", "b\n\n", {id("a"), id("b"), id("<0x0A>"), id("<0x0A>")}, "a"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Request request;
    request.prompt = {1};
    request.max_tokens = 10;
    request.stop = {c.stop};
    request.sampling.temperature = 0;
    auto cache = model.cache().open();
    REQUIRE(cache->reserve(11));
    cache->advance(1);
    Sequence sequence({request, {}}, std::move(cache), model.config(), *tokenizer);
    std::string text;
    for (std::size_t i = 0; i < c.tokens.size(); ++i) {
      CAPTURE(i);
      REQUIRE_FALSE(sequence.finished());
      text += accept(sequence, c.tokens[i], tokenizer->vocabulary_size()).text;
    }
    CHECK(sequence.finished());
    CHECK(text == c.text);
  }
}
