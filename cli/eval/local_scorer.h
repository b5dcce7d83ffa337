#pragma once
// Scores questions with a model in this process, many in one step: a context is read once and its
// cache copied for every ending.  What a policy sees as one batch is such a step.

#include <cstddef>
#include <memory>
#include <vector>

#include "bsd/local_model.h"
#include "cli/eval/scorer.h"

namespace wdmoe::cli::eval {

/// Tokens that the cache of a model for LocalScorer should have room for.
constexpr std::size_t kEvalCacheTokens = std::size_t{1} << 15;

class LocalScorer final : public Scorer {
 public:
  static constexpr std::size_t kMostBatchRows = 4096;

  /// `model` outlives the scorer.  A step has at most `batch_rows` rows, 1 to kMostBatchRows
  /// (fewer where their logits would not fit into 64 MiB).
  LocalScorer(bsd::LocalModel& model, std::size_t batch_rows);

  std::size_t max_context() const override;

  /// Steps: the contexts of as many questions as fit are one batch, all their endings (but for
  /// their last tokens, after which nothing is asked) the next; a question with a single ending is
  /// read in one piece.  Errors: limit (a question beyond max_context()), or the decoder's.
  Result<Scores> score(Span<const Question> questions, const OnProgress& progress) override;

 private:
  struct Feed;
  Result<void> read_contexts(Span<const Question> questions, std::size_t first,
                             std::vector<Feed>& contexts, Scores& scores);
  Result<void> read_endings(Span<const Question> questions, std::size_t first,
                            Span<const Feed> contexts, Scores& scores);
  Result<void> run(Span<const Feed> feeds);
  Result<void> step(Span<const Feed> feeds, std::size_t from);

  bsd::LocalModel& model_;
  std::size_t batch_rows_;
};

}  // namespace wdmoe::cli::eval
