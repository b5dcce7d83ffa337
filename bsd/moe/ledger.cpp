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

Ledger::Ledger(std::size_t layers) : count_(layers), layers_(std::make_unique<Layer[]>(layers)) {}

void Ledger::decided(const Decision& decision) {
  WDMOE_CHECK(decision.input.layer < count_);
  Layer& layer = layers_[decision.input.layer];
  add(layer.rows, decision.tally.rows);
  add(layer.kept, decision.tally.kept);
  add(layer.drops, decision.tally.drops);
  add(layer.substitutions, decision.tally.substitutions);
}

void Ledger::waited(const Wait& wait) {
  WDMOE_CHECK(wait.layer < count_);
  Layer& layer = layers_[wait.layer];
  add(layer.waits, std::uint64_t{1});
  add(layer.waited_s, wait.measured_s);
  if (!(wait.predicted_s > 0 && wait.measured_s > 0)) return;
  add(layer.predicted_waits, std::uint64_t{1});
  add(layer.predicted_s, wait.predicted_s);
  add(layer.measured_s, wait.measured_s);
  const double ratio = wait.predicted_s / wait.measured_s;
  const auto& bounds = PredictionRatios::kBounds;
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), ratio) - bounds.begin();
  add(ratios_[static_cast<std::size_t>(bucket)], std::uint64_t{1});
  add(ratio_sum_, ratio);
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
    counts.waited_s = read(layer.waited_s);
    counts.predicted_waits = read(layer.predicted_waits);
    counts.predicted_s = read(layer.predicted_s);
    counts.measured_s = read(layer.measured_s);
    snapshot.layers.push_back(counts);
  }
  for (std::size_t bucket = 0; bucket < ratios_.size(); ++bucket)
    snapshot.ratios.counts[bucket] = read(ratios_[bucket]);
  snapshot.ratios.sum = read(ratio_sum_);
  return snapshot;
}

}  // namespace wdmoe::bsd
