#include "bsd/moe/ledger.h"

#include <algorithm>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

template <class T>
void add(std::atomic<T>& to, T amount) {
  to.store(to.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

template <class T>
T read(const std::atomic<T>& from) {
  return from.load(std::memory_order_relaxed);
}

}  // namespace

Ledger::Ledger(std::size_t layers) : count_(layers), layers_(std::make_unique<Layer[]>(layers)) {
  pending_.layers.resize(layers);
}

void Ledger::decided(const Decision& decision) {
  WDMOE_CHECK(decision.input.layer < count_);
  if (decision.step != step_) clear_pending();
  step_ = decision.step;
  pending_.layers[decision.input.layer].tally += decision.tally;
}

void Ledger::waited(const Wait& wait) {
  WDMOE_CHECK(wait.layer < count_);
  LayerCounts& layer = pending_.layers[wait.layer];
  ++layer.waits;
  layer.blocked_s += wait.blocked_s;
  if (!(wait.predicted_s > 0 && wait.response_s > 0)) return;
  ++layer.predicted_waits;
  layer.predicted_s += wait.predicted_s;
  layer.response_s += wait.response_s;
  const double ratio = wait.predicted_s / wait.response_s;
  const auto& bounds = PredictionRatios::kBounds;
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), ratio) - bounds.begin();
  ++pending_.ratios.counts[static_cast<std::size_t>(bucket)];
  pending_.ratios.sum += ratio;
}

void Ledger::completed() {
  for (std::size_t index = 0; index < count_; ++index) {
    const LayerCounts& done = pending_.layers[index];
    Layer& layer = layers_[index];
    add(layer.rows, done.tally.rows);
    add(layer.kept, done.tally.kept);
    add(layer.drops, done.tally.drops);
    add(layer.substitutions, done.tally.substitutions);
    add(layer.waits, done.waits);
    add(layer.blocked_s, done.blocked_s);
    add(layer.predicted_waits, done.predicted_waits);
    add(layer.predicted_s, done.predicted_s);
    add(layer.response_s, done.response_s);
  }
  for (std::size_t bucket = 0; bucket < ratios_.size(); ++bucket)
    add(ratios_[bucket], pending_.ratios.counts[bucket]);
  add(ratio_sum_, pending_.ratios.sum);
  clear_pending();
}

void Ledger::clear_pending() {
  std::fill(pending_.layers.begin(), pending_.layers.end(), LayerCounts{});
  pending_.ratios = {};
}

LedgerSnapshot Ledger::snapshot() const {
  LedgerSnapshot snapshot;
  for (std::size_t index = 0; index < count_; ++index) {
    const Layer& layer = layers_[index];
    LayerCounts counts;
    counts.tally.rows = read(layer.rows);
    counts.tally.kept = read(layer.kept);
    counts.tally.drops = read(layer.drops);
    counts.tally.substitutions = read(layer.substitutions);
    counts.waits = read(layer.waits);
    counts.blocked_s = read(layer.blocked_s);
    counts.predicted_waits = read(layer.predicted_waits);
    counts.predicted_s = read(layer.predicted_s);
    counts.response_s = read(layer.response_s);
    snapshot.layers.push_back(counts);
  }
  for (std::size_t bucket = 0; bucket < ratios_.size(); ++bucket)
    snapshot.ratios.counts[bucket] = read(ratios_[bucket]);
  snapshot.ratios.sum = read(ratio_sum_);
  return snapshot;
}

}  // namespace wdmoe::bsd
