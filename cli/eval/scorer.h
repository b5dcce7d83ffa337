#pragma once
// How probable a model finds endings of a context: what both accuracy and perplexity are made of.

#include <cstddef>
#include <functional>
#include <vector>

#include "bsd/request.h"
#include "common/result.h"
#include "common/span.h"

namespace wdmoe::cli::eval {

/// A context, at least one token, and its possible endings, each at least one token.
struct Question {
  std::vector<bsd::Token> context;
  std::vector<std::vector<bsd::Token>> endings;
};

/// log p(ending | context) summed over an ending's tokens, nats; [questions][endings].
using Scores = std::vector<std::vector<double>>;

/// Called with the number of questions that are answered, as they are.
using OnProgress = std::function<void(std::size_t done)>;

class Scorer {
 public:
  virtual ~Scorer() = default;
  /// Every context with its longest ending fits into this many tokens.
  virtual std::size_t max_context() const = 0;
  virtual Result<Scores> score(Span<const Question> questions, const OnProgress& progress) = 0;
};

}  // namespace wdmoe::cli::eval
