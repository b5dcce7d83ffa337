#include "cli/eval/measure.h"

#include <cmath>
#include <string>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::cli::eval;

namespace {

/// One token a byte, with token 1 in front of a text where asked.
Result<std::vector<bsd::Token>> bytes(std::string_view text, bool add_special) {
  std::vector<bsd::Token> tokens;
  if (add_special) tokens.push_back(1);
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

/// Finds endings the more probable the longer they are; equal lengths equal.
class LongIsGood final : public Scorer {
 public:
  std::size_t max_context() const override { return 100; }
  Result<Scores> score(Span<const Question> questions, const OnProgress& progress) override {
    Scores scores;
    for (const Question& question : questions) {
      scores.emplace_back();
      for (const auto& ending : question.endings)
        scores.back().push_back(static_cast<double>(ending.size()) - 1000);
    }
    progress(questions.size());
    return scores;
  }
};

}  // namespace

TEST_CASE("tokenize_sets: prompts begin with what the tokenizer adds, choices do not") {
  const std::vector<TaskSet> sets{{"s", {{"s-0", "ab", {"c", "de"}, 1}}}};
  const auto tokenized = tokenize_sets(sets, bytes, 5);
  REQUIRE(tokenized);
  const Question& question = tokenized->front().questions.front();
  CHECK(question.context == std::vector<bsd::Token>{1, 'a', 'b'});
  CHECK(question.endings[1] == std::vector<bsd::Token>{'d', 'e'});
  CHECK(tokenized->front().answers.front() == 1);

  const auto too_long = tokenize_sets(sets, bytes, 4);
  REQUIRE_FALSE(too_long);
  CHECK(too_long.error().text == "set s, item s-0: has 5 tokens, but the model's context only 4");
  const auto mute = [](std::string_view, bool special) -> Result<std::vector<bsd::Token>> {
    return std::vector<bsd::Token>(special ? 1 : 0, 1);
  };
  CHECK_FALSE(tokenize_sets(sets, mute, 5));
}

TEST_CASE("tokenize_windows: side by side, the first token context only, no rest") {
  const auto windows = tokenize_windows("abcdefghij", bytes, 4, 0);  // 11 tokens with the first
  REQUIRE(windows);
  REQUIRE(windows->size() == 2);
  CHECK((*windows)[0].context == std::vector<bsd::Token>{1});
  CHECK((*windows)[0].endings.front() == std::vector<bsd::Token>{'a', 'b', 'c'});
  CHECK((*windows)[1].context == std::vector<bsd::Token>{'d'});
  CHECK(tokenize_windows("abcdefghij", bytes, 4, 1)->size() == 1);
  CHECK_FALSE(tokenize_windows("ab", bytes, 4, 0));
}

TEST_CASE("measure: the best-scored ending answers, of equals the first") {
  const std::vector<TaskSet> sets{{"s",
                                   {{"0", "p", {"a", "bcd", "ef"}, 1},
                                    {"1", "p", {"ab", "cd"}, 0},
                                    {"2", "p", {"ab", "cd"}, 1}}},
                                  {"t", {{"0", "p", {"a", "bc"}, 0}}}};
  LongIsGood scorer;
  Material material{tokenize_sets(sets, bytes, 100).value(),
                    tokenize_windows("abcdefg", bytes, 4, 0).value()};
  std::vector<std::size_t> done;
  const auto answers = measure(scorer, material, [&](std::size_t count) { done.push_back(count); });
  REQUIRE(answers);
  CHECK(answers->right[0] == std::vector<unsigned char>{1, 1, 0});
  CHECK(answers->right[1] == std::vector<unsigned char>{0});
  CHECK(answers->losses == std::vector<double>{997, 997});
  CHECK(done == std::vector<std::size_t>{3, 4, 6});
  CHECK(material.questions() == 6);
}
