#include "bsd/model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

/// NaN counts as never; +inf as the largest finite number, so that sums stay finite.
float usable(float logit) {
  if (std::isnan(logit)) return kNever;
  return std::min(logit, std::numeric_limits<float>::max());
}

bool is_better(const std::pair<float, Token>& a, const std::pair<float, Token>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

/// log sum exp in double, shifted by the largest.
double log_sum_exp(Span<const float> logits, double largest) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(usable(logit)) - largest);
  return largest + std::log(sum);
}

}  // namespace

TokenLogprob logprob_of(Span<const float> logits, Token token, std::size_t top) {
  WDMOE_CHECK(token < logits.size());
  float largest = kNever;
  for (const float logit : logits) largest = std::max(largest, usable(logit));
  const bool none = largest == kNever;
  const double total = none ? 0 : log_sum_exp(logits, static_cast<double>(largest));
  const auto logprob = [&](Token id) {
    const double value = static_cast<double>(usable(logits[id])) - total;
    return std::max(static_cast<float>(value), std::numeric_limits<float>::lowest());
  };

  TokenLogprob result;
  result.token = token;
  result.logprob = logprob(token);
  const std::size_t count = std::min<std::size_t>(top, logits.size());
  if (count > 0) {
    std::vector<std::pair<float, Token>> ranked(logits.size());
    for (Token id = 0; id < ranked.size(); ++id) ranked[id] = {usable(logits[id]), id};
    const auto end = ranked.begin() + static_cast<std::ptrdiff_t>(count);
    std::partial_sort(ranked.begin(), end, ranked.end(), is_better);
    for (auto it = ranked.begin(); it != end; ++it)
      result.top.emplace_back(it->second, logprob(it->second));
  }
  const bool listed = std::any_of(result.top.begin(), result.top.end(),
                                  [&](const auto& entry) { return entry.first == token; });
  if (!listed) result.top.emplace_back(token, result.logprob);
  return result;
}

Sampler::Sampler(const Sampling& sampling) : sampling_(sampling), random_(sampling.seed) {}

Token Sampler::sample(Span<const float> logits, Span<const Token> seen) {
  WDMOE_CHECK(!logits.empty());
  scores_.resize(logits.size());
  std::transform(logits.begin(), logits.end(), scores_.begin(), usable);
  penalise(seen);
  if (!(sampling_.temperature > 0)) return greedy();
  gather();
  if (candidates_.empty()) return 0;
  keep_top_k();
  keep_top_p();
  keep_min_p();
  return draw();
}

/// Divides positive and multiplies negative scores of every token seen, once each, as transformers'
/// RepetitionPenaltyLogitsProcessor.
void Sampler::penalise(Span<const Token> seen) {
  const float penalty = sampling_.repetition_penalty;
  if (penalty == 1.0f || !(penalty > 0)) return;
  std::vector<Token> unique(seen.begin(), seen.end());
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  for (const Token token : unique) {
    if (token >= scores_.size()) continue;
    float& score = scores_[token];
    score = usable(score < 0 ? score * penalty : score / penalty);
  }
}

Token Sampler::greedy() const {
  return static_cast<Token>(std::max_element(scores_.begin(), scores_.end()) - scores_.begin());
}

/// Scores count from the best: divided as they are, several would overflow into one at a tiny
/// temperature.
void Sampler::gather() {
  candidates_.clear();
  const float best = *std::max_element(scores_.begin(), scores_.end());
  if (best == kNever) return;
  for (Token token = 0; token < scores_.size(); ++token) {
    const float score = (scores_[token] - best) / sampling_.temperature;
    if (score > kNever) candidates_.emplace_back(score, token);
  }
}

/// Keeps every candidate not below the k-th best (ties stay, as in transformers).
void Sampler::keep_top_k() {
  const std::size_t count = sampling_.top_k;
  if (count == 0 || count >= candidates_.size()) return;
  const auto last = candidates_.begin() + static_cast<std::ptrdiff_t>(count - 1);
  std::nth_element(candidates_.begin(), last, candidates_.end(), is_better);
  const float threshold = last->first;
  candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(),
                                   [&](const auto& entry) { return entry.first < threshold; }),
                    candidates_.end());
}

/// Keeps the shortest list of best candidates whose probability reaches top_p.
void Sampler::keep_top_p() {
  if (!(sampling_.top_p < 1.0f)) return;
  std::sort(candidates_.begin(), candidates_.end(), is_better);
  const double best = static_cast<double>(candidates_.front().first);
  double total = 0;
  for (const auto& entry : candidates_) total += std::exp(static_cast<double>(entry.first) - best);
  const double wanted = static_cast<double>(sampling_.top_p) * total;
  double sum = 0;
  std::size_t kept = 0;
  while (kept < candidates_.size() && (kept == 0 || sum < wanted))
    sum += std::exp(static_cast<double>(candidates_[kept++].first) - best);
  candidates_.resize(kept);
}

/// Keeps candidates at least min_p times as probable as the best.
void Sampler::keep_min_p() {
  if (!(sampling_.min_p > 0)) return;
  const auto best = std::min_element(candidates_.begin(), candidates_.end(), is_better)->first;
  const double threshold =
      static_cast<double>(best) + std::log(std::min(1.0, static_cast<double>(sampling_.min_p)));
  candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(),
                                   [&](const auto& entry) {
                                     return static_cast<double>(entry.first) < threshold;
                                   }),
                    candidates_.end());
}

/// Inverse transform over the candidates, with 53 random bits of our own scaling: the standard's
/// distributions differ between libraries, and a seed should mean the same everywhere.
Token Sampler::draw() {
  std::sort(candidates_.begin(), candidates_.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  const double best = static_cast<double>(
      std::min_element(candidates_.begin(), candidates_.end(), is_better)->first);
  double total = 0;
  for (const auto& entry : candidates_) total += std::exp(static_cast<double>(entry.first) - best);
  const double target = static_cast<double>(random_() >> 11) * 0x1.0p-53 * total;
  double sum = 0;
  for (const auto& [score, token] : candidates_) {
    sum += std::exp(static_cast<double>(score) - best);
    if (target < sum) return token;
  }
  return candidates_.back().second;  // rounding left the target at the very end
}

}  // namespace wdmoe::bsd
