#pragma once
// What the devices are expected to do in one layer under a placement; placement.cpp asks it of
// many.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "bsd/moe/placement.h"

namespace wdmoe::bsd {

/// Seconds of a wait that nothing ends.
constexpr double kEndless = std::numeric_limits<double>::infinity();

/// Adds up one layer's loads, expert by expert.
class LayerLoads {
 public:
  explicit LayerLoads(const PlacementProblem& problem)
      : problem_(problem),
        loads_(problem.memory_bytes.size()),
        absent_(problem.memory_bytes.size(), 1.0) {}

  /// One more expert, or more of one that a row visits there with probability `already`.
  void add(std::size_t device, double probability, double already = 0) {
    absent_[device] *= std::max(0.0, 1 - already - probability) / (1 - already);
    loads_[device].visits += problem_.rows * probability;
    loads_[device].rows = problem_.rows * (1 - absent_[device]);
  }
  double waiting() {
    ++evaluations_;
    return problem_.waiting(loads_);
  }
  double waiting_with(std::size_t device, double probability, double already = 0) {
    const ExpectedLoad load = loads_[device];
    const double absent = absent_[device];
    add(device, probability, already);
    const double latency = waiting();
    loads_[device] = load;
    absent_[device] = absent;
    return latency;
  }
  const std::vector<ExpectedLoad>& loads() const { return loads_; }
  std::size_t evaluations() const { return evaluations_; }  ///< calls of the problem's `waiting`

 private:
  const PlacementProblem& problem_;
  std::vector<ExpectedLoad> loads_;
  std::vector<double> absent_;  // [devices] probability that a row stays away
  std::size_t evaluations_ = 0;
};

/// As expected_loads() describes.
LayerLoads load_layer(const PlacementProblem& problem, std::size_t layer, const Holders& holders);

}  // namespace wdmoe::bsd
