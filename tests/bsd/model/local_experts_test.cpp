#include "bsd/model/local_experts.h"

#include <cmath>
#include <random>

#include <doctest/doctest.h>

#include "kernels/reference.h"
#include "tests/support/tiny_model.h"
#include "weights/mixtral_names.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

/// down · (silu(gate · x) ∘ (up · x)) in double precision.
std::vector<double> expert_of(const ExpertWeights& weights, const float* x) {
  const auto dot = [](Tensor t, std::size_t row, const auto& v) {
    double sum = 0;
    for (std::size_t c = 0; c < t.cols; ++c)
      sum +=
          static_cast<double>(kernels::reference::element(t, row, c)) * static_cast<double>(v[c]);
    return sum;
  };
  std::vector<double> middle(weights.gate.rows), out(weights.down.rows);
  for (std::size_t i = 0; i < middle.size(); ++i) {
    const double g = dot(weights.gate, i, x);
    middle[i] = g / (1 + std::exp(-g)) * dot(weights.up, i, x);
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = dot(weights.down, i, middle);
  return out;
}

}  // namespace

TEST_CASE("local experts: the weighted sum of the chosen experts, and zero for rows nobody wants") {
  const test::TinyModel model;
  const ModelConfig config = ModelConfig::load(model.path()).value();
  const auto checkpoint = weights::Checkpoint::open(model.path()).value();
  const auto backend = kernels::make_reference_backend();
  const auto runner = make_local_experts(checkpoint, config, *backend).value();
  CHECK(runner->holders(1) == Holders(4, {0}));

  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  constexpr std::size_t kRows = 5;
  std::vector<float> x(kRows * config.hidden), y(x.size(), 99.0f);
  for (float& v : x) v = normal(random);
  const Selection selection = {{0, 3, 0, 0.75f}, {0, 1, 0, 0.25f}, {1, 1, 0, 1.0f},
                               {3, 0, 0, 0.5f},  {3, 1, 0, 0.5f},  {4, 3, 0, 1.0f}};
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    StepCosts costs;
    REQUIRE(runner->begin(layer, selection, {x.data(), kRows, config.hidden},
                          {y.data(), kRows, config.hidden}, costs));
    REQUIRE(runner->finish(costs));
    std::vector<double> expected(x.size(), 0.0);
    for (const Choice& c : selection) {
      const auto w =
          weights::find_expert(checkpoint, layer, c.expert, {config.hidden, config.ffn}).value();
      const auto out = expert_of(w, x.data() + c.row * config.hidden);
      for (std::size_t i = 0; i < config.hidden; ++i)
        expected[c.row * config.hidden + i] += static_cast<double>(c.weight) * out[i];
    }
    double worst = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      worst = std::max(worst, std::fabs(static_cast<double>(y[i]) - expected[i]));
    CHECK(worst < 1e-5);  // sums of <= 24 products of order 1 in f32
    CHECK(costs.wire_wait.count() > 0);
    CHECK(costs.messages == 0);
  }
}

TEST_CASE("local experts: a missing expert is an error that names it") {
  test::TinyModel model;
  model.remove_tensor("model.layers.1.block_sparse_moe.experts.2.w3.weight");
  const ModelConfig config = ModelConfig::load(model.path()).value();
  const auto backend = kernels::make_reference_backend();
  const auto runner =
      make_local_experts(weights::Checkpoint::open(model.path()).value(), config, *backend);
  REQUIRE_FALSE(runner);
  CHECK(runner.error().text.find("2.w3") != std::string::npos);
}
