#include "sim/gate.h"

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/trace/writer.h"
#include "tests/sim/scenarios.h"

using namespace wdmoe;
using test::scenario_of;

namespace {

const std::string kHead = "[devices]\ncount = 4\n[model]\nlayers = 2\nexperts = 4\n[workload]\n";

/// Log-probabilities, less their mean over the row: the logits up to rounding.
std::vector<double> logits_of(sim::GateSource& gate, std::size_t layer, std::size_t expert) {
  std::vector<double> logits;
  for (;;) {
    const auto next = gate.next();
    REQUIRE(next.has_value());
    if (!*next) return logits;
    if ((*next)->layer != layer) continue;
    const auto& p = (*next)->probabilities;
    for (std::size_t row = 0; row < p.rows; ++row) {
      double mean = 0;
      for (std::size_t e = 0; e < p.cols; ++e)
        mean += std::log(double{p.row(row)[e]}) / static_cast<double>(p.cols);
      logits.push_back(std::log(double{p.row(row)[expert]}) - mean);
    }
  }
}

}  // namespace

TEST_CASE("gate: every layer of every batch once, rows are distributions") {
  const auto gate = sim::open_workload(scenario_of(kHead + "rows = 5\nbatches = 3\n"), 1).value();
  for (std::size_t step = 0; step < 6; ++step) {
    const auto next = gate->next();
    REQUIRE(next.has_value());
    REQUIRE(next->has_value());
    CHECK((*next)->layer == step % 2);
    const auto& p = (*next)->probabilities;
    REQUIRE(p.rows == 5);
    for (std::size_t row = 0; row < p.rows; ++row) {
      double sum = 0;
      for (std::size_t expert = 0; expert < 4; ++expert) sum += double{p.row(row)[expert]};
      CHECK(sum == doctest::Approx(1).epsilon(1e-6));
    }
  }
  CHECK(!gate->next().value().has_value());
}

TEST_CASE("gate: logits have the spread and the correlation that were asked for") {
  const auto scenario =
      scenario_of(kHead + "rows = 100\nbatches = 300\nspread = 2\nskew = 0\nlocality = 0.6\n");
  const auto logits = logits_of(*sim::open_workload(scenario, 3).value(), 1, 2);
  REQUIRE(logits.size() == 30000);
  double square = 0, product = 0;
  for (std::size_t row = 0; row < logits.size(); ++row) {
    square += logits[row] * logits[row] / 30000;
    if (row > 0) product += logits[row] * logits[row - 1] / 30000;
  }
  // Less the row's mean over 4 experts, variance is 4·(1 - 1/4) = 3.  Independent draws in effect:
  // 30000·(1 - r²)/(1 + r²) = 14118; five standard errors of the variance, sqrt(2/14118).
  CHECK(square == doctest::Approx(3).epsilon(5 * std::sqrt(2 / 14118.0)));
  CHECK(product / square == doctest::Approx(0.6).epsilon(0.05));  // 5·(1 - r²)/sqrt(n)/r
}

TEST_CASE("gate: skew makes experts of one layer differ, for the whole run") {
  const auto scenario = scenario_of(kHead + "rows = 200\nbatches = 20\nspread = 0.1\nskew = 2\n");
  const auto first = logits_of(*sim::open_workload(scenario, 1).value(), 0, 0);
  const auto other = logits_of(*sim::open_workload(scenario, 1).value(), 1, 0);
  CHECK(std::abs(first.front() - first.back()) < 1);  // spread 0.1 about one popularity
  CHECK(std::abs(first.front() - other.front()) > 0.1);
}

TEST_CASE("gate: equal seeds give equal gates, other seeds others") {
  const auto scenario = scenario_of(kHead + "rows = 3\nbatches = 2\n");
  const auto a = logits_of(*sim::open_workload(scenario, 1).value(), 0, 0);
  CHECK(a == logits_of(*sim::open_workload(scenario, 1).value(), 0, 0));
  CHECK(a != logits_of(*sim::open_workload(scenario, 2).value(), 0, 0));
}

TEST_CASE("gate: a recorded trace is played as it was recorded") {
  const auto path = std::filesystem::temp_directory_path() / "wdmoe-sim-gate-test.trace";
  std::filesystem::remove(path);
  {
    auto writer = bsd::trace::Writer::create(path, {"a model", 2, 4, 2}, 1 << 20).value();
    const std::vector<float> p{0.5F, 0.25F, 0.125F, 0.125F};
    const std::vector<bsd::trace::Run> runs{{1, 0, 1}};
    for (std::uint64_t step = 0; step < 3; ++step) {
      for (std::size_t layer = 0; layer < 2; ++layer) {
        const std::vector<bsd::Choice> choices{{0, 0, 0, 0.6F}, {0, 1, 1, 0.4F}};
        REQUIRE(writer->append({step, layer, runs, {p.data(), 1, 4}, choices}));
      }
      REQUIRE(writer->end_step());
    }
    REQUIRE(writer->finish());
  }
  const std::string trace = "trace = \"" + path.string() + "\"\n";
  const auto gate = sim::open_workload(scenario_of(kHead + trace + "batches = 2\n"), 1).value();
  for (std::size_t layer : {0, 1, 0, 1}) {
    const auto next = gate->next();
    REQUIRE(next.has_value());
    REQUIRE(next->has_value());
    CHECK((*next)->layer == layer);
    CHECK((*next)->probabilities.row(0)[0] == 0.5F);
  }
  CHECK(!gate->next().value().has_value());  // batches bounds the steps

  const auto other =
      sim::open_workload(scenario_of("[devices]\ncount = 4\n[workload]\n" + trace), 1);
  REQUIRE(!other.has_value());
  CHECK(other.error().text.find("recorded from 2 layers of 4 experts") != std::string::npos);
  std::filesystem::remove(path);
  CHECK(!sim::open_workload(scenario_of(kHead + trace), 1).has_value());
}
