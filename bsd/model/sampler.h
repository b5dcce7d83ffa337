#pragma once
// From logits to the next token of one sequence.  Pure but for its own random state; engine thread.
// A logit that is not a number counts as minus infinity; if none is finite, the lowest id wins.

#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "bsd/request.h"
#include "common/span.h"

namespace wdmoe::bsd {

/// log softmax of one token and the `top` best ones, from raw logits (before any sampling change).
/// `top` of the result is sorted best first (lowest id on ties) and ends with `token` itself when
/// it is not among the best; its value there is the very same float as `logprob`.  Minus infinity
/// is reported as the lowest finite float, which JSON can carry.
TokenLogprob logprob_of(Span<const float> logits, Token token, std::size_t top);

class Sampler {
 public:
  explicit Sampler(const Sampling& sampling);
  /// Order, as transformers': repetition penalty over `seen`, temperature, top-k, top-p, min-p.
  /// Greedy (temperature 0): the largest logit after the penalty, lowest id on ties.
  /// `logits` must not be empty; ids in `seen` beyond them are ignored.
  Token sample(Span<const float> logits, Span<const Token> seen);

 private:
  void penalise(Span<const Token> seen);
  Token greedy() const;
  void gather();      // candidates_ from scores_, scaled by the temperature
  void keep_top_k();  // each filter leaves at least one candidate
  void keep_top_p();
  void keep_min_p();
  Token draw();

  Sampling sampling_;
  std::mt19937_64 random_;
  std::vector<float> scores_;                        // by token
  std::vector<std::pair<float, Token>> candidates_;  // score, token; best first once sorted
};

}  // namespace wdmoe::bsd
