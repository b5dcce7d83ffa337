#pragma once
// Where a simulation's gate probabilities come from: a synthetic gate or a recorded trace.

#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "common/result.h"
#include "common/tensor.h"
#include "sim/scenario.h"

namespace wdmoe::sim {

/// One layer of one batch.
struct LayerGates {
  std::size_t layer = 0;
  Matrix<const float> probabilities;  ///< [rows, experts], softmax over all experts
};

class GateSource {
 public:
  virtual ~GateSource() = default;
  /// The next layer, in the order in which a decoder meets them; nothing at the end.  The view
  /// holds until the next call.  Errors: the trace's.
  virtual Result<std::optional<LayerGates>> next() = 0;
};

/// The scenario's workload.  Equal seeds give equal gates, whatever the cell does.
/// Errors: the trace's, or bad_input if it was recorded from a model of another shape.
Result<std::unique_ptr<GateSource>> open_workload(const Scenario& scenario, std::uint64_t seed);

/// P[j,.] = softmax(z[j,.]) for every layer apart, rows being successive tokens, of this batch and
/// the next:
///     z[j,e] = skew·b[e] + spread·x[j,e],         b[e] normal, once per layer and expert
///     x[j,e] = r·x[j-1,e] + sqrt(1 - r²)·n,       r = locality
class SyntheticGate final : public GateSource {
 public:
  SyntheticGate(const Scenario& scenario, std::uint64_t seed);
  Result<std::optional<LayerGates>> next() override;

 private:
  void fill(std::size_t layer);

  WorkloadSpec spec_;
  std::size_t layers_, experts_;
  std::size_t layer_ = 0, batch_ = 0;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::vector<double> popularity_;  // skew·b, [layers, experts]
  std::vector<double> state_;       // x of the last row, [layers, experts]
  std::vector<float> probabilities_;
};

}  // namespace wdmoe::sim
