#include "cli/eval/local_scorer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "bsd/model/sampler.h"
#include "common/check.h"

namespace wdmoe::cli::eval {
namespace {

constexpr std::size_t kMostLogits = std::size_t{1} << 24;  // floats of one step: 64 MiB

using bsd::Slice;
using bsd::Token;

Error too_long(std::size_t tokens, std::size_t room) {
  return {Code::limit, "a question has " + std::to_string(tokens) +
                           " tokens, but there is room for " + std::to_string(room)};
}

}  // namespace

/// Tokens that one sequence reads, and what its logits are asked.
struct LocalScorer::Feed {
  struct Target {
    std::size_t row;  ///< the logits after this token of `tokens` ...
    Token token;      ///< ... say how probable this one is
    double* score;    ///< to which its logarithm is added
  };
  std::unique_ptr<bsd::KvSequence> cache;
  std::vector<Token> tokens;
  std::vector<Target> targets;  ///< by rising row
};

LocalScorer::LocalScorer(bsd::LocalModel& model, std::size_t batch_rows)
    : model_(model),
      batch_rows_(
          std::min(batch_rows, std::max<std::size_t>(kMostLogits / model.config().vocabulary, 1))) {
  WDMOE_CHECK(batch_rows >= 1 && batch_rows <= kMostBatchRows);
}

std::size_t LocalScorer::max_context() const {
  // Half of the cache holds contexts, the other half copies for endings.
  const std::size_t cached = model_.cache().pages_total() / 2 * bsd::kPageTokens;
  return std::min(model_.config().max_positions, cached);
}

Result<Scores> LocalScorer::score(Span<const Question> questions, const OnProgress& progress) {
  Scores scores(questions.size());
  for (std::size_t i = 0; i < questions.size(); ++i)
    scores[i].assign(questions[i].endings.size(), 0.0);
  for (std::size_t first = 0; first < questions.size();) {
    std::vector<Feed> contexts;
    WDMOE_TRY(read_contexts(questions, first, contexts, scores));
    WDMOE_TRY(read_endings(questions, first, contexts, scores));
    first += contexts.size();
    progress(first);
  }
  return scores;
}

/// Reads the contexts from question `first` on that fit into one batch (at least one).
Result<void> LocalScorer::read_contexts(Span<const Question> questions, std::size_t first,
                                        std::vector<Feed>& contexts, Scores& scores) {
  const std::size_t for_endings = model_.cache().pages_total() / 2;
  std::size_t rows = 0;
  for (std::size_t i = first; i < questions.size(); ++i) {
    const auto& [context, endings] = questions[i];
    WDMOE_CHECK(!context.empty() && !endings.empty());
    Feed feed{model_.cache().open(), context, {}};
    const std::size_t last = context.size() - 1;
    for (std::size_t ending = 0; ending < endings.size(); ++ending)
      feed.targets.push_back({last, endings[ending].front(), &scores[i][ending]});
    if (endings.size() == 1) {
      feed.tokens.insert(feed.tokens.end(), endings[0].begin(), endings[0].end() - 1);
      for (std::size_t at = 1; at < endings[0].size(); ++at)
        feed.targets.push_back({last + at, endings[0][at], &scores[i][0]});
    }
    const std::size_t count = feed.tokens.size();
    if (count > max_context()) return tl::unexpected<Error>(too_long(count, max_context()));
    const bool fits = rows + count <= batch_rows_ &&
                      model_.cache().pages_free() >= for_endings + bsd::KvCache::pages_for(count);
    if (!fits && !contexts.empty()) break;
    WDMOE_TRY(feed.cache->reserve(count));
    rows += count;
    contexts.push_back(std::move(feed));
  }
  return run(contexts);
}

/// Reads the endings whose first token alone does not decide, in as few batches as can be.
Result<void> LocalScorer::read_endings(Span<const Question> questions, std::size_t first,
                                       Span<const Feed> contexts, Scores& scores) {
  std::vector<Feed> feeds;
  std::size_t rows = 0;
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    const auto& endings = questions[first + i].endings;
    if (endings.size() == 1) continue;  // read with its context
    for (std::size_t ending = 0; ending < endings.size(); ++ending) {
      const std::vector<Token>& tokens = endings[ending];
      if (tokens.size() == 1) continue;
      const std::size_t count = tokens.size() - 1;
      const std::size_t total = contexts[i].cache->length() + count;
      if (total > max_context()) return tl::unexpected<Error>(too_long(total, max_context()));
      if (rows + count > batch_rows_ ||
          model_.cache().pages_free() < bsd::KvCache::pages_for(total)) {
        WDMOE_TRY(run(feeds));
        feeds.clear();
        rows = 0;
      }
      auto cache = model_.cache().copy(*contexts[i].cache);
      if (!cache) return tl::unexpected<Error>(std::move(cache).error());
      WDMOE_TRY((*cache)->reserve(total));
      Feed feed{*std::move(cache), {tokens.begin(), tokens.end() - 1}, {}};
      for (std::size_t at = 0; at < count; ++at)
        feed.targets.push_back({at, tokens[at + 1], &scores[first + i][ending]});
      feeds.push_back(std::move(feed));
      rows += count;
    }
  }
  return run(feeds);
}

/// One step; only a feed that is alone may be longer than a batch, and takes several.
Result<void> LocalScorer::run(Span<const Feed> feeds) {
  std::size_t longest = 0;
  for (const Feed& feed : feeds) longest = std::max(longest, feed.tokens.size());
  for (std::size_t from = 0; from < longest; from += batch_rows_) WDMOE_TRY(step(feeds, from));
  return {};
}

/// The next batch of tokens, from token `from` of each feed on.
Result<void> LocalScorer::step(Span<const Feed> feeds, std::size_t from) {
  std::vector<Slice> slices;
  for (const Feed& feed : feeds) {
    const std::size_t count = std::min(batch_rows_, feed.tokens.size() - from);
    const auto wants_more = [&](const Feed::Target& target) {
      return target.row >= from && target.row + 1 < from + count;
    };
    const bool all = std::any_of(feed.targets.begin(), feed.targets.end(), wants_more);
    slices.push_back({feed.cache.get(),
                      {feed.tokens.data() + from, count},
                      all ? Slice::Logits::all : Slice::Logits::last});
  }
  bsd::StepCosts costs;
  const auto logits = model_.decoder().step(slices, costs);
  if (!logits) return tl::unexpected<Error>(logits.error());
  std::size_t next = 0;  // row of `logits` after this slice's
  for (std::size_t i = 0; i < feeds.size(); ++i) {
    const std::size_t end = from + slices[i].tokens.size();
    next += bsd::wanted_rows(slices[i]);
    for (const auto& [row, token, score] : feeds[i].targets) {
      if (row < from || row >= end) continue;
      const std::size_t at = next - (end - row);
      const auto scored = bsd::logprob_of({logits->row(at), logits->cols}, token, /*top=*/0);
      *score += static_cast<double>(scored.logprob);
    }
  }
  return {};
}

}  // namespace wdmoe::cli::eval
