#pragma once
// From logits to the next token of one sequence.  Pure but for its own random state; engine thread.

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "bsd/request.h"
#include "common/span.h"

namespace wdmoe::bsd {

/// log softmax of one token and the `top` best ones, from raw logits (before any sampling change).
TokenLogprob logprob_of(Span<const float> logits, Token token, std::size_t top);

class Sampler {
 public:
  explicit Sampler(const Sampling& sampling);
  /// Order, as transformers': repetition penalty over `seen`, temperature, top-k, top-p, min-p.
  /// Greedy (temperature 0): the largest logit after the penalty, lowest id on ties.
  Token sample(Span<const float> logits, Span<const Token> seen);

 private:
  Sampling sampling_;
  std::mt19937_64 random_;
  std::vector<std::pair<float, Token>> candidates_;
};

}  // namespace wdmoe::bsd
