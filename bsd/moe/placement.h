#pragma once
// Which device holds which expert of which layer: decided once, before a model is cut into shards,
// from memory, popularity and what a layer is predicted to wait.  Pure and deterministic.

#include <cstdint>
#include <functional>
#include <vector>

#include "bsd/moe/selection.h"
#include "common/result.h"

namespace wdmoe::bsd {

/// What a device is expected to do in one layer of one batch.
struct ExpectedLoad {
  double rows = 0;    ///< distinct rows sent there
  double visits = 0;  ///< experts computed there
};

struct PlacementProblem {
  std::size_t layers = 0, experts = 0;
  double rows = 64;  ///< of a batch
  /// [layers, experts] probability that a row visits the expert; a layer sums to top-k.
  Matrix<const double> popularity;
  std::uint64_t expert_bytes = 1;          ///< of one expert of one layer
  Span<const std::uint64_t> memory_bytes;  ///< [devices] for experts
  /// Predicted waiting latency, in seconds, of a layer with these loads, [devices]; the same for
  /// the same loads.
  std::function<double(Span<const ExpectedLoad>)> waiting;
};

/// holders[layer][expert]: devices, ascending; never empty.
using Placement = std::vector<Holders>;

/// The paper's: expert k of every layer on device k mod devices.  Fits or not: see fits().
Placement paper_placement(std::size_t layers, std::size_t experts, std::size_t devices);

/// Experts of all layers held by each device.
std::vector<std::size_t> count_held(const Placement& placement, std::size_t devices);
bool fits(const PlacementProblem& problem, const Placement& placement);

/// Expected loads of one layer.  Rows choose independently, so a device that holds experts of
/// probabilities p_e gets rows·(1 - Π(1 - p_e)) rows.  Replicas share an expert's rows in quarters,
/// each to the holder with which the layer waits least.
std::vector<ExpectedLoad> expected_loads(const PlacementProblem& problem, std::size_t layer,
                                         const Holders& holders);
/// Predicted waiting latency of all layers.
double predicted_latency(const PlacementProblem& problem, const Placement& placement);

/// A placement within everybody's memory with low predicted latency: the better of the paper's (if
/// it fits) and one that seats popular experts first, improved by moves and swaps of experts, also
/// across layers, until none helps.  With `replicas`, memory left over then takes copies, the most
/// useful first, as long as they help.  Large models run out of kMostEvaluations first: half of
/// them go to a look at every layer, in equal parts, and steps found by then are still taken.
/// Errors: limit if the devices' memory cannot hold every expert once.
Result<Placement> place_experts(const PlacementProblem& problem, bool replicas);

/// Calls of `waiting` to improve a placement, and to add copies: seconds, for any model.
constexpr std::size_t kMostEvaluations = 300'000;
constexpr std::size_t kMostCopyEvaluations = 1'000'000;

}  // namespace wdmoe::bsd
