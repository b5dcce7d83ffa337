#include "bsd/model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

using namespace wdmoe::bsd;

namespace {

std::vector<float> random_logits(std::mt19937& random, std::size_t count) {
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

/// What can come out, by many draws.
std::set<Token> drawn(const Sampling& sampling, const std::vector<float>& logits,
                      int draws = 4000) {
  Sampler sampler(sampling);
  std::set<Token> tokens;
  for (int i = 0; i < draws; ++i) tokens.insert(sampler.sample(logits, {}));
  return tokens;
}

std::vector<double> probabilities(const std::vector<float>& logits, double temperature) {
  const double best = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  double sum = 0;
  for (const float logit : logits) sum += p.emplace_back(std::exp((logit - best) / temperature));
  for (double& value : p) value /= sum;
  return p;
}

std::vector<Token> best_first(const std::vector<double>& p) {
  std::vector<Token> order(p.size());
  for (Token id = 0; id < order.size(); ++id) order[id] = id;
  std::stable_sort(order.begin(), order.end(), [&](Token a, Token b) { return p[a] > p[b]; });
  return order;
}

}  // namespace

TEST_CASE("logprob_of: the values are a log softmax, sorted, and hold the token itself") {
  std::mt19937 random(1);
  const auto logits = random_logits(random, 257);
  const auto p = probabilities(logits, 1);
  const auto order = best_first(p);
  for (Token token = 0; token < logits.size(); token += 13) {
    const auto result = logprob_of(logits, token, 5);
    CHECK(result.logprob == doctest::Approx(std::log(p[token])).epsilon(1e-6));
    for (std::size_t i = 0; i < 5; ++i) CHECK(result.top[i].first == order[i]);
    const auto self = std::find_if(result.top.begin(), result.top.end(),
                                   [&](const auto& entry) { return entry.first == token; });
    REQUIRE(self != result.top.end());
    CHECK(self->second == result.logprob);  // exactly: lm-eval compares with ==
  }
}

TEST_CASE("logprob_of: extreme logits stay finite and accurate") {
  const float big = 3e38f, none = -std::numeric_limits<float>::infinity();
  CHECK(logprob_of(std::vector<float>{big, -big}, 0, 1).logprob == 0);
  CHECK(std::isfinite(logprob_of(std::vector<float>{big, -big}, 1, 1).logprob));
  CHECK(std::isfinite(logprob_of(std::vector<float>{none, 0}, 0, 1).logprob));
  CHECK(std::isfinite(logprob_of(std::vector<float>{none, none}, 0, 2).logprob));
  CHECK(std::isfinite(logprob_of(std::vector<float>{NAN, NAN}, 1, 2).logprob));
  // A million equal logits: float sums would lose the small terms.
  const std::vector<float> flat(1'000'000, 7.25f);
  CHECK(logprob_of(flat, 3, 0).logprob == doctest::Approx(-std::log(1e6)).epsilon(1e-6));
}

TEST_CASE("sampler: greedy takes the largest, the lowest id on ties") {
  Sampling greedy;
  greedy.temperature = 0;
  CHECK(Sampler(greedy).sample(std::vector<float>{1, 3, 3, 2}, {}) == 1);
  CHECK(Sampler(greedy).sample(std::vector<float>{NAN, -1, NAN}, {}) == 1);
  CHECK(Sampler(greedy).sample(std::vector<float>{NAN, NAN}, {}) == 0);
}

TEST_CASE("sampler: each filter keeps exactly what a brute-force twin keeps") {
  std::mt19937 random(2);
  for (int round = 0; round < 20; ++round) {
    // Few tokens within a narrow range: 4000 draws see every one that is allowed (p >= 0.5 %).
    std::vector<float> logits(8);
    for (float& logit : logits) logit = std::uniform_real_distribution<float>(0, 2.5f)(random);
    Sampling sampling;
    sampling.seed = static_cast<std::uint64_t>(round);
    sampling.temperature = 0.8f;
    const auto p = probabilities(logits, static_cast<double>(0.8f));
    const auto order = best_first(p);
    std::set<Token> expected;

    sampling.top_k = 1 + static_cast<std::uint32_t>(random() % 8);
    expected.insert(order.begin(), order.begin() + sampling.top_k);
    CHECK(drawn(sampling, logits) == expected);

    sampling.top_k = 0;
    sampling.top_p = std::uniform_real_distribution<float>(0.05f, 0.99f)(random);
    expected.clear();
    double sum = 0;
    for (std::size_t i = 0; i < order.size() && sum < static_cast<double>(sampling.top_p); ++i) {
      expected.insert(order[i]);
      sum += p[order[i]];
    }
    CHECK(drawn(sampling, logits) == expected);

    sampling.top_p = 1;
    sampling.min_p = std::uniform_real_distribution<float>(0.05f, 0.95f)(random);
    expected.clear();
    for (Token id = 0; id < p.size(); ++id)
      if (p[id] >= static_cast<double>(sampling.min_p) * p[order[0]]) expected.insert(id);
    CHECK(drawn(sampling, logits) == expected);
  }
}

TEST_CASE("sampler: draws follow the softmax") {
  const std::vector<float> logits = {0, 1, 2, 3};
  Sampling sampling;
  sampling.temperature = 1.5f;
  sampling.seed = 42;
  const auto p = probabilities(logits, 1.5);
  constexpr int kDraws = 20'000;
  std::vector<int> counts(4);
  Sampler sampler(sampling);
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.sample(logits, {})];
  for (std::size_t id = 0; id < 4; ++id) {
    // Five standard deviations of a binomial share.
    const double sigma = std::sqrt(p[id] * (1 - p[id]) / kDraws);
    CHECK(std::abs(counts[id] / static_cast<double>(kDraws) - p[id]) < 5 * sigma);
  }
}

TEST_CASE("sampler: a tiny temperature takes the best, however large the logits") {
  for (const float temperature : {1e-10f, 1e-38f, std::numeric_limits<float>::denorm_min()}) {
    Sampling sampling;
    sampling.temperature = temperature;
    CHECK(drawn(sampling, {30, 50, 40, -60}, 100) == std::set<Token>{1});
  }
  Sampling sampling;
  CHECK(drawn(sampling, std::vector<float>(3, -std::numeric_limits<float>::infinity()), 10) ==
        std::set<Token>{0});
}

TEST_CASE("sampler: a seed gives the same tokens again, another seed others") {
  std::mt19937 random(3);
  const auto logits = random_logits(random, 100);
  const auto run = [&](std::uint64_t seed) {
    Sampling sampling;
    sampling.seed = seed;
    Sampler sampler(sampling);
    std::vector<Token> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.sample(logits, tokens));
    return tokens;
  };
  CHECK(run(1) == run(1));
  CHECK(run(1) != run(2));
}

TEST_CASE("sampler: the repetition penalty is transformers'") {
  // score < 0 ? score * penalty : score / penalty, once for each token seen, however often.
  Sampling sampling;
  sampling.temperature = 0;
  sampling.repetition_penalty = 2;
  const std::vector<Token> seen = {1, 1, 3, 99};
  CHECK(Sampler(sampling).sample(std::vector<float>{1.2f, 2.2f, 0, 2}, seen) == 0);   // 1.1, 1.0
  CHECK(Sampler(sampling).sample(std::vector<float>{-1.5f, -1, -9, -9}, seen) == 0);  // -2
  CHECK(Sampler(sampling).sample(std::vector<float>{1.0f, 2.5f, 0, 0}, seen) == 1);   // 1.25
}

TEST_CASE("sampler: no logits and no settings lead to undefined behaviour") {
  std::mt19937 random(4);
  const float odd[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 3e38f, -3e38f, 1e-45f};
  for (int round = 0; round < 500; ++round) {
    std::vector<float> logits(1 + random() % 9);
    for (float& logit : logits) logit = odd[random() % 8];
    Sampling sampling;
    sampling.seed = random();
    sampling.temperature = std::vector<float>{0, 1e-30f, 1, 1e30f, NAN}[random() % 5];
    sampling.top_k = static_cast<std::uint32_t>(random() % 4);
    sampling.top_p = std::vector<float>{0, 1e-9f, 0.5f, 1, NAN}[random() % 5];
    sampling.min_p = std::vector<float>{0, 0.5f, 1, 2, NAN}[random() % 5];
    sampling.repetition_penalty = std::vector<float>{1, 1e30f, 1e-30f, 0, NAN}[random() % 5];
    CHECK(Sampler(sampling).sample(logits, std::vector<Token>{0, 5}) < logits.size());
  }
}
