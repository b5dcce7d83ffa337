#include "bsd/moe/ledger.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

/// The bucket of `bounds`, ascending, that `value` falls in.
template <class Bounds>
std::size_t bucket_of(const Bounds& bounds, double value) {
  return static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) -
                                  bounds.begin());
}

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
  pending_errors_.reserve(PredictionErrors::kRecent);
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
  ++pending_.ratios.counts[bucket_of(PredictionRatios::kBounds, ratio)];
  pending_.ratios.sum += ratio;
  const double error = std::abs(ratio - 1);
  layer.error += error;
  ++pending_.errors.counts[bucket_of(PredictionErrors::kBounds, error)];
  pending_.errors.sum += error;
  if (pending_errors_.size() < PredictionErrors::kRecent)
    pending_errors_.push_back(static_cast<float>(error));
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
    add(layer.error, done.error);
  }
  for (std::size_t bucket = 0; bucket < ratios_.size(); ++bucket)
    add(ratios_[bucket], pending_.ratios.counts[bucket]);
  add(ratio_sum_, pending_.ratios.sum);
  for (std::size_t bucket = 0; bucket < errors_.size(); ++bucket)
    add(errors_[bucket], pending_.errors.counts[bucket]);
  add(error_sum_, pending_.errors.sum);
  for (const float error : pending_errors_) {
    const std::uint64_t count = read(recent_count_);
    recent_[count % recent_.size()].store(error, std::memory_order_relaxed);
    recent_count_.store(count + 1, std::memory_order_relaxed);
  }
  clear_pending();
}

void Ledger::clear_pending() {
  std::fill(pending_.layers.begin(), pending_.layers.end(), LayerCounts{});
  pending_.ratios = {};
  pending_.errors = {};
  pending_errors_.clear();
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
    counts.error = read(layer.error);
    snapshot.layers.push_back(counts);
  }
  for (std::size_t bucket = 0; bucket < ratios_.size(); ++bucket)
    snapshot.ratios.counts[bucket] = read(ratios_[bucket]);
  snapshot.ratios.sum = read(ratio_sum_);
  for (std::size_t bucket = 0; bucket < errors_.size(); ++bucket)
    snapshot.errors.counts[bucket] = read(errors_[bucket]);
  snapshot.errors.sum = read(error_sum_);
  std::vector<float> recent(
      std::min<std::size_t>(recent_.size(), static_cast<std::size_t>(read(recent_count_))));
  if (recent.empty()) return snapshot;
  std::transform(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(recent.size()),
                 recent.begin(), read<float>);
  const auto middle = recent.begin() + static_cast<std::ptrdiff_t>(recent.size() / 2);
  std::nth_element(recent.begin(), middle, recent.end());
  snapshot.errors.recent_median = *middle;
  return snapshot;
}

}  // namespace wdmoe::bsd
