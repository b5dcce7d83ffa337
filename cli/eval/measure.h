#pragma once
// From evaluation sets and held-out text to questions, and from a scorer's answers to what a model
// got right.  Pure, but for the scorer.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/eval/dataset.h"
#include "cli/eval/scorer.h"

namespace wdmoe::cli::eval {

/// A set as tokens.
struct TokenizedSet {
  std::string name;
  std::vector<Question> questions;
  std::vector<std::size_t> answers;  ///< [questions] index of the right ending
};

/// All that one configuration is asked.
struct Material {
  std::vector<TokenizedSet> sets;
  std::vector<Question> windows;  ///< of held-out text; a window's first token is context only
  std::size_t questions() const;
};

/// `add_special`: with what the tokenizer puts around a text (a leading BOS).
using Tokenize =
    std::function<Result<std::vector<bsd::Token>>(std::string_view text, bool add_special)>;

/// Prompts with special tokens, choices without, as models/train/evaluate.py has it.
/// Errors name set and item: a choice without a token, a question beyond `max_context`.
Result<std::vector<TokenizedSet>> tokenize_sets(Span<const TaskSet> sets, const Tokenize& tokenize,
                                                std::size_t max_context);

/// Windows of min(512, max_context) tokens side by side; a rest that fills none is left out.
/// `limit`: the first so many, 0 for all.  bad_input when the text does not fill one.
Result<std::vector<Question>> tokenize_windows(std::string_view text, const Tokenize& tokenize,
                                               std::size_t max_context, std::size_t limit);

/// What one configuration answered, question by question, in the order of the material.
struct Answers {
  std::vector<std::vector<unsigned char>> right;  ///< [sets][questions] 1: the answer scored best
  std::vector<double> losses;                     ///< [windows] summed, nats
};

Result<Answers> measure(Scorer& scorer, const Material& material, const OnProgress& progress);

}  // namespace wdmoe::cli::eval
