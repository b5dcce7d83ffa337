#include "cli/eval/local_scorer.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/model/sampler.h"
#include "tests/support/golden_models.h"
#include "tests/support/local_model.h"

using namespace wdmoe;
using namespace wdmoe::cli::eval;
using bsd::Token;

namespace {

/// log p(ending | context), the plain way: everything anew for every ending.
double plain_score(test::LocalModel& model, const std::vector<Token>& context,
                   const std::vector<Token>& ending) {
  std::vector<Token> tokens = context;
  tokens.insert(tokens.end(), ending.begin(), ending.end());
  const std::vector<float> logits = model.logits(tokens, {tokens.size()});
  const std::size_t vocabulary = model.config().vocabulary;
  double sum = 0;
  for (std::size_t i = context.size(); i < tokens.size(); ++i)
    sum += static_cast<double>(
        bsd::logprob_of({logits.data() + (i - 1) * vocabulary, vocabulary}, tokens[i], 0).logprob);
  return sum;
}

/// Questions of all shapes: one ending or several, of one token or more, short and long contexts.
std::vector<Question> questions_from(const std::vector<Token>& text) {
  const auto cut = [&text](std::size_t first, std::size_t count) {
    return std::vector<Token>(text.begin() + static_cast<std::ptrdiff_t>(first),
                              text.begin() + static_cast<std::ptrdiff_t>(first + count));
  };
  return {{cut(0, 1), {cut(1, 60)}},
          {cut(0, 33), {cut(40, 1), cut(41, 1), cut(42, 4)}},
          {cut(5, 32), {cut(50, 3), cut(60, 2), cut(70, 7), cut(33, 1)}},
          {cut(3, 70), {cut(80, 1)}},
          {cut(9, 2), {cut(20, 1), cut(21, 1)}}};
}

}  // namespace

TEST_CASE("LocalScorer: sharing contexts and batching scores as reading everything alone does") {
  const auto golden = test::golden_models().front();
  test::LocalModel plain(golden.path, 1);
  const std::vector<Question> questions = questions_from(golden.prompts.back().tokens);
  for (const std::size_t batch_rows :
       {std::size_t{1}, std::size_t{7}, std::size_t{64}, LocalScorer::kMostBatchRows}) {
    CAPTURE(batch_rows);
    // The smallest cache that takes the longest question twice: endings must wait for each other.
    auto model = bsd::LocalModel::load(golden.path, 2, 6 * bsd::kPageTokens).value();
    LocalScorer scorer(*model, batch_rows);
    std::vector<std::size_t> done;
    const auto scores = scorer.score(questions, [&](std::size_t count) { done.push_back(count); });
    REQUIRE(scores);
    REQUIRE(scores->size() == questions.size());
    for (std::size_t i = 0; i < questions.size(); ++i)
      for (std::size_t ending = 0; ending < questions[i].endings.size(); ++ending) {
        CAPTURE(i);
        CAPTURE(ending);
        const double expected =
            plain_score(plain, questions[i].context, questions[i].endings[ending]);
        // A logit differs by rounding of f32 sums only: 60 of them by less than this.
        CHECK(std::fabs((*scores)[i][ending] - expected) < 1e-3);
      }
    REQUIRE_FALSE(done.empty());
    CHECK(done.back() == questions.size());
    CHECK(model->cache().pages_free() == model->cache().pages_total());
  }
}

TEST_CASE("LocalScorer: a question longer than the context is refused") {
  const auto golden = test::golden_models().front();
  auto model = bsd::LocalModel::load(golden.path, 1, 4 * bsd::kPageTokens).value();
  LocalScorer scorer(*model, 16);
  REQUIRE(scorer.max_context() == 2 * bsd::kPageTokens);
  const std::vector<Token> short_one(10, 1), long_one(100, 1);
  for (const Question& question : {Question{long_one, {short_one}}, Question{short_one, {long_one}},
                                   Question{short_one, {short_one, long_one}}}) {
    const auto scores = scorer.score({&question, 1}, [](std::size_t) {});
    REQUIRE_FALSE(scores);
    CHECK(scores.error().code == Code::limit);
  }
}
