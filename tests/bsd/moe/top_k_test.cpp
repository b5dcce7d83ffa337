#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include <doctest/doctest.h>

#include "bsd/moe/selection.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

Holders one_device_each(std::size_t experts) {
  Holders holders(experts);
  for (std::size_t e = 0; e < experts; ++e) holders[e] = {static_cast<std::uint16_t>(e)};
  return holders;
}

Selection select(const std::vector<float>& probabilities, std::size_t experts, std::size_t top_k,
                 const Holders& holders) {
  const auto policy = make_top_k_policy();
  Selection selection;
  policy->select(
      {0, top_k, {probabilities.data(), probabilities.size() / experts, experts}, &holders},
      selection);
  return selection;
}

}  // namespace

TEST_CASE("top-k: takes what a full sort takes, best first, and renormalises") {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
  for (const std::size_t experts : {1u, 2u, 7u, 8u, 64u}) {
    for (std::size_t top_k = 1; top_k <= std::min<std::size_t>(experts, 8); ++top_k) {
      CAPTURE(experts);
      CAPTURE(top_k);
      constexpr std::size_t kRows = 5;
      std::vector<float> p(kRows * experts);
      // Few distinct values, so that ties are common.
      for (float& v : p) v = std::round(uniform(random) * 8 + 1) / 16;
      const Selection selection = select(p, experts, top_k, one_device_each(experts));
      REQUIRE(selection.size() == kRows * top_k);
      for (std::size_t row = 0; row < kRows; ++row) {
        const float* rowp = p.data() + row * experts;
        std::vector<std::size_t> order(experts);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return rowp[a] > rowp[b]; });
        double kept = 0, sum = 0;
        for (std::size_t k = 0; k < top_k; ++k) kept += static_cast<double>(rowp[order[k]]);
        for (std::size_t k = 0; k < top_k; ++k) {
          const Choice& choice = selection[row * top_k + k];
          CHECK(choice.row == row);
          CHECK(choice.expert == order[k]);
          CHECK(choice.device == order[k]);
          CHECK(static_cast<double>(choice.weight) ==
                doctest::Approx(static_cast<double>(rowp[order[k]]) / kept).epsilon(1e-6));
          sum += static_cast<double>(choice.weight);
        }
        CHECK(sum == doctest::Approx(1.0).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("top-k: names the first holder, and nobody where an expert has no home") {
  Holders holders{{4, 1}, {}, {2}};
  const Selection selection = select({0.5f, 0.3f, 0.2f}, 3, 2, holders);
  REQUIRE(selection.size() == 2);
  CHECK(selection[0].device == 4);
  CHECK(selection[1].expert == 1);
  CHECK(selection[1].device == kNobody);
}

TEST_CASE("top-k: NaN probabilities still give top_k different experts") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Selection selection = select({nan, 0.1f, nan, 0.4f}, 4, 2, one_device_each(4));
  REQUIRE(selection.size() == 2);
  CHECK(selection[0].expert != selection[1].expert);
}

TEST_CASE("top-k: does not allocate again for a batch no larger than one it has seen") {
  const Holders holders = one_device_each(8);
  const std::vector<float> p(16 * 8, 0.125f);
  const auto policy = make_top_k_policy();
  Selection selection;
  policy->select({0, 2, {p.data(), 16, 8}, &holders}, selection);
  const Choice* before = selection.data();
  policy->select({1, 2, {p.data(), 16, 8}, &holders}, selection);
  policy->select({2, 2, {p.data(), 3, 8}, &holders}, selection);
  CHECK(selection.data() == before);
}
