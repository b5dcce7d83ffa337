#include "bsd/moe/tally.h"

#include <algorithm>
#include <numeric>
#include <random>

#include <doctest/doctest.h>

#include "bsd/moe/catalogue.h"
#include "bsd/moe/draft.h"
#include "bsd/moe/ledger.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using doctest::Approx;

namespace {

SelectionTally tally(const std::vector<float>& p, std::size_t top_k, const Selection& choices) {
  std::vector<float> scratch;
  return tally_row({p.data(), p.size()}, top_k, {choices.data(), choices.size()}, scratch);
}

}  // namespace

TEST_CASE("tally: one row, counted by hand") {
  const std::vector<float> p{0.1f, 0.5f, 0.3f, 0.1f};  // top-2: experts 1 and 2
  const auto whole = tally(p, 2, {{0, 1, 0, 0.6f}, {0, 2, 0, 0.4f}});
  CHECK(whole.rows == 1);
  CHECK(whole.kept == 1);
  CHECK(whole.drops == 0);
  CHECK(whole.substitutions == 0);
  const auto dropped = tally(p, 2, {{0, 1, 0, 1.0f}});
  CHECK(dropped.kept == Approx(0.5 / 0.8));
  CHECK(dropped.drops == 1);
  CHECK(dropped.substitutions == 0);
  const auto substituted = tally(p, 2, {{0, 1, 0, 0.8f}, {0, 3, 0, 0.2f}});
  CHECK(substituted.kept == Approx(0.6 / 0.8));
  CHECK(substituted.drops == 0);
  CHECK(substituted.substitutions == 1);
  // Of equal probabilities the lower expert is the gate's: 0 would be the third, 3 the fourth.
  CHECK(tally(p, 3, {{0, 1, 0, 1}, {0, 2, 0, 1}, {0, 0, 0, 1}}).substitutions == 0);
  CHECK(tally(p, 3, {{0, 1, 0, 1}, {0, 2, 0, 1}, {0, 3, 0, 1}}).substitutions == 1);
}

TEST_CASE("tally: substitutions are those of a sorted row, with many equal probabilities") {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    const std::size_t experts = 1 + random() % 12, top_k = 1 + random() % experts;
    std::vector<float> p(experts);
    for (float& value : p) value = static_cast<float>(random() % 3) / 8;
    std::vector<std::uint16_t> order(experts);
    std::iota(order.begin(), order.end(), std::uint16_t{0});
    std::vector<std::uint16_t> picks = order;
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] > p[b]; });
    std::shuffle(picks.begin(), picks.end(), random);
    picks.resize(1 + random() % top_k);
    Selection choices;
    std::size_t outside = 0;
    for (const std::uint16_t expert : picks) {
      choices.push_back({0, expert, 0, 1});
      outside += std::find(order.begin(), order.end(), expert) - order.begin() >=
                 static_cast<std::ptrdiff_t>(top_k);
    }
    CHECK(tally(p, top_k, choices).substitutions == outside);
  }
}

TEST_CASE("tally: kept mass is kept_gate_mass(), whatever the policy and the cell") {
  std::mt19937 random(1);
  RowTallies tallies;
  for (const PolicyEntry& entry : policies()) {
    const auto policy = make_policy(entry.name, {0.7, 0.5}).value();
    for (int round = 0; round < 200; ++round) {
      CAPTURE(entry.name);
      CAPTURE(round);
      CellShape shape = random_shape(8, 12, 5, random);
      shape.orphans = false;
      const RandomCell cell(shape, random);
      Selection selection;
      policy->select(cell.input(), selection);
      tallies.begin(cell.shape.rows);
      const SelectionTally sum = tallies.add(0, cell.input(), selection);
      CHECK(sum.rows == cell.shape.rows);
      CHECK(sum.kept / static_cast<double>(sum.rows) ==
            Approx(kept_gate_mass(cell.input(), selection)).epsilon(1e-6));
      CHECK(selection.size() + sum.drops == cell.shape.rows * cell.shape.top_k);
      if (entry.name == "topk") CHECK(sum.kept == static_cast<double>(sum.rows));
      if (entry.name == "topk") CHECK(sum.substitutions == 0);
    }
  }
}

TEST_CASE("tally: parts of a batch and layers add up to each row's own") {
  std::mt19937 random(2);
  const RandomCell cell({6, 8, 3, 2}, random);
  const auto policy = make_policy("budget", {0.7, 0.3}).value();
  Selection selection;
  policy->select(cell.input(), selection);
  RowTallies whole, parts;
  whole.begin(6);
  const SelectionTally sum = whole.add(0, cell.input(), selection);
  parts.begin(12);  // the same rows as first and as second half of a batch
  parts.add(0, cell.input(), selection);
  parts.add(6, cell.input(), selection);
  parts.add(6, cell.input(), selection);  // the second half, another layer
  for (std::size_t row = 0; row < 6; ++row) {
    CHECK(parts.sum(row, 1).kept == whole.sum(row, 1).kept);
    CHECK(parts.sum(row + 6, 1).rows == 2);
    CHECK(parts.sum(row + 6, 1).drops == 2 * whole.sum(row, 1).drops);
  }
  CHECK(sum.drops > 0);
  CHECK(whole.sum(0, 6).drops == sum.drops);
  CHECK(parts.sum(0, 12).kept == Approx(3 * sum.kept));
}

TEST_CASE("ledger: sums by layer, and ratios of predictions by bucket") {
  Ledger ledger(2);
  const Selection selection;
  SelectionInput input;
  input.layer = 1;
  const SelectionTally tally{3, 2.5, 1, 2};
  for (int i = 0; i < 2; ++i) ledger.decided({1, {}, 0, input, selection, tally});
  ledger.waited({0, 0, 0, 0.25});           // no prediction
  ledger.waited({1, 0.002, 0.001, 0.125});  // ratio 2: the last of its bucket
  ledger.waited({1, 0.001, 0.001, 0.25});
  ledger.waited({1, 0.5, 0.001, 0});                   // beyond every bound
  CHECK(ledger.snapshot().layers[1].tally.rows == 0);  // the step may fail yet
  ledger.completed();
  const LedgerSnapshot seen = ledger.snapshot();
  REQUIRE(seen.layers.size() == 2);
  CHECK(seen.layers[1].tally.rows == 6);
  CHECK(seen.layers[1].tally.kept == 5);
  CHECK(seen.layers[1].tally.drops == 2);
  CHECK(seen.layers[1].tally.substitutions == 4);
  CHECK(seen.layers[0].tally.rows == 0);
  CHECK(seen.layers[0].waits == 1);
  CHECK(seen.layers[0].predicted_waits == 0);
  CHECK(seen.layers[0].blocked_s == 0.25);
  CHECK(seen.layers[1].blocked_s == 0.375);
  CHECK(seen.layers[1].predicted_waits == 3);
  CHECK(seen.layers[1].predicted_s == Approx(0.503));
  CHECK(seen.layers[1].response_s == Approx(0.003));
  for (std::size_t bucket = 0; bucket < seen.ratios.counts.size(); ++bucket) {
    const double bound =
        bucket < PredictionRatios::kBounds.size() ? PredictionRatios::kBounds[bucket] : 1e9;
    CHECK(seen.ratios.counts[bucket] == (bound == 1.0 || bound == 2.0 || bound == 1e9));
  }
  CHECK(seen.ratios.sum == Approx(503));
  // |2 - 1|, |1 - 1|, |500 - 1|
  CHECK(seen.errors.sum == Approx(500));
  CHECK(seen.layers[1].error == Approx(500));
  CHECK(seen.errors.recent_median == Approx(1));
  CHECK(seen.errors.counts.front() == 1);
  CHECK(seen.errors.counts.back() == 1);
  CHECK(seen.errors.counts[10] == 1);  // up to 1
}

TEST_CASE("ledger: the recent median error is of the last exchanges only") {
  Ledger ledger(1);
  CHECK(ledger.snapshot().errors.recent_median < 0);
  const Selection selection;
  const SelectionInput input;
  for (std::size_t i = 0; i < 2 * PredictionErrors::kRecent; ++i) {
    ledger.decided({i + 1, {}, 0, input, selection, {}});
    ledger.waited({0, i < PredictionErrors::kRecent ? 0.003 : 0.0011, 0.001, 0});
    ledger.completed();
  }
  CHECK(ledger.snapshot().errors.recent_median == Approx(0.1).epsilon(1e-5));
}

TEST_CASE("ledger: a step that failed counts for nothing, the one tried again once") {
  Ledger ledger(2);
  const Selection selection;
  SelectionInput input;
  const auto run = [&](std::uint64_t step, std::size_t layers) {
    for (input.layer = 0; input.layer < layers; ++input.layer) {
      ledger.decided({step, {}, 0, input, selection, {3, 2.5, 1, 2}});
      ledger.waited({input.layer, 0.002, 0.001, 0.25});
    }
  };
  run(1, 1);  // layer 1 lost its device
  run(2, 1);
  run(3, 2);
  ledger.completed();
  const LedgerSnapshot seen = ledger.snapshot();
  for (const LayerCounts& layer : seen.layers) {
    CHECK(layer.tally.rows == 3);
    CHECK(layer.tally.kept == 2.5);
    CHECK(layer.tally.drops == 1);
    CHECK(layer.tally.substitutions == 2);
    CHECK(layer.waits == 1);
    CHECK(layer.blocked_s == 0.25);
    CHECK(layer.predicted_waits == 1);
  }
  CHECK(seen.ratios.sum == 4);
}
