// The oracle: logits and greedy continuations of tiny Mixtral checkpoints, from transformers in
// f32.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/golden_models.h"
#include "tests/support/local_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

constexpr double kMaxLogitError = 2e-3;  // against f32 transformers

double worst_error(const std::vector<float>& got, Tensor expected) {
  REQUIRE(got.size() == expected.rows * expected.cols);
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    float value = 0;
    std::memcpy(&value, expected.data + i * sizeof value, sizeof value);
    const double error = std::fabs(static_cast<double>(got[i]) - static_cast<double>(value));
    if (!(error <= worst)) worst = error;  // a NaN stays
  }
  return worst;
}

std::vector<std::size_t> chunks_of(std::size_t total, std::size_t size) {
  std::vector<std::size_t> chunks(total / size, size);
  if (total % size != 0) chunks.push_back(total % size);
  return chunks;
}

}  // namespace

TEST_CASE("golden models: there are at least four, with long and short prompts") {
  const auto models = test::golden_models();
  CHECK(models.size() >= 4);
  for (const auto& model : models) {
    CAPTURE(model.path);
    CHECK(model.prompts.size() >= 5);
    CHECK(model.prompts.front().tokens.size() == 1);
    CHECK(model.prompts.back().tokens.size() >= 100);
  }
}

TEST_CASE("golden models: prefill, chunks and single tokens give transformers' logits") {
  for (const auto& golden : test::golden_models()) {
    CAPTURE(golden.path);
    test::LocalModel model(golden.path, 2);
    double worst = 0;
    for (const auto& prompt : golden.prompts) {
      const std::size_t total = prompt.tokens.size();
      for (const std::size_t chunk : {total, std::size_t{48}, std::size_t{7}, std::size_t{1}}) {
        CAPTURE(total);
        CAPTURE(chunk);
        const double error =
            worst_error(model.logits(prompt.tokens, chunks_of(total, chunk)), prompt.logits);
        CHECK(error <= kMaxLogitError);
        worst = std::max(worst, error);
      }
    }
    MESSAGE(golden.path.filename().string() << ": worst |logit error| " << worst);
  }
}

TEST_CASE("golden models: greedy continuations of 64 tokens are transformers'") {
  for (const auto& golden : test::golden_models()) {
    CAPTURE(golden.path);
    test::LocalModel model(golden.path, 2);
    for (const auto& prompt : golden.prompts) {
      REQUIRE(prompt.greedy.size() >= 64);
      CHECK(model.greedy(prompt.tokens, prompt.greedy.size()) == prompt.greedy);
    }
  }
}
