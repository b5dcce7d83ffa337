#include "cli/eval/measure.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace wdmoe::cli::eval {
namespace {

using bsd::Token;

constexpr std::size_t kWindow = 512;  // as models/train/evaluate.py, whose figures we reproduce

Result<Question> question_from(const Item& item, const Tokenize& tokenize,
                               std::size_t max_context) {
  auto context = tokenize(item.prompt, /*add_special=*/true);
  if (!context) return tl::unexpected<Error>(std::move(context).error());
  if (context->empty()) return fail(Code::bad_input, "the prompt has no token");
  Question question{*std::move(context), {}};
  for (const std::string& choice : item.choices) {
    auto ending = tokenize(choice, /*add_special=*/false);
    if (!ending) return tl::unexpected<Error>(std::move(ending).error());
    if (ending->empty()) return fail(Code::bad_input, "a choice has no token");
    const std::size_t total = question.context.size() + ending->size();
    if (total > max_context)
      return fail(Code::limit, fmt::format("has {} tokens, but the model's context only {}", total,
                                           max_context));
    question.endings.push_back(*std::move(ending));
  }
  return question;
}

}  // namespace

std::size_t Material::questions() const {
  std::size_t count = windows.size();
  for (const TokenizedSet& set : sets) count += set.questions.size();
  return count;
}

Result<std::vector<TokenizedSet>> tokenize_sets(Span<const TaskSet> sets, const Tokenize& tokenize,
                                                std::size_t max_context) {
  std::vector<TokenizedSet> tokenized;
  for (const TaskSet& set : sets) {
    TokenizedSet next{set.name, {}, {}};
    for (const Item& item : set.items) {
      Result<Question> question = question_from(item, tokenize, max_context);
      if (!question)
        return fail(fmt::format("set {}, item {}", set.name, item.id), std::move(question).error());
      next.questions.push_back(*std::move(question));
      next.answers.push_back(item.answer);
    }
    tokenized.push_back(std::move(next));
  }
  return tokenized;
}

Result<std::vector<Question>> tokenize_windows(std::string_view text, const Tokenize& tokenize,
                                               std::size_t max_context, std::size_t limit) {
  const auto tokens = tokenize(text, /*add_special=*/true);
  if (!tokens) return fail("held-out text", tokens.error());
  const std::size_t window = std::max<std::size_t>(std::min(kWindow, max_context), 2);
  std::vector<Question> windows;
  for (auto first = tokens->begin(); tokens->end() - first >= static_cast<std::ptrdiff_t>(window);
       first += static_cast<std::ptrdiff_t>(window)) {
    if (limit != 0 && windows.size() == limit) break;
    const auto end = first + static_cast<std::ptrdiff_t>(window);
    windows.push_back({{*first}, {std::vector<Token>(first + 1, end)}});
  }
  if (windows.empty())
    return fail(Code::bad_input, fmt::format("held-out text: has {} tokens, fewer than one window "
                                             "of {}",
                                             tokens->size(), window));
  return windows;
}

Result<Answers> measure(Scorer& scorer, const Material& material, const OnProgress& progress) {
  Answers answers;
  std::size_t before = 0;
  const auto report = [&](std::size_t done) { progress(before + done); };
  for (const TokenizedSet& set : material.sets) {
    const Result<Scores> scores = scorer.score(set.questions, report);
    if (!scores) return fail("set " + set.name, scores.error());
    before += set.questions.size();
    std::vector<unsigned char> right;
    for (std::size_t i = 0; i < scores->size(); ++i) {
      const std::vector<double>& endings = (*scores)[i];
      const auto best = std::max_element(endings.begin(), endings.end()) - endings.begin();
      right.push_back(static_cast<std::size_t>(best) == set.answers[i] ? 1 : 0);
    }
    answers.right.push_back(std::move(right));
  }
  const Result<Scores> scores = scorer.score(material.windows, report);
  if (!scores) return fail("held-out text", scores.error());
  for (const std::vector<double>& window : *scores) answers.losses.push_back(-window.front());
  return answers;
}

}  // namespace wdmoe::cli::eval
