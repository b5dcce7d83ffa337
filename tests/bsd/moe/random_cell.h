#pragma once
// Random selection problems with everything the policies must cope with: several experts on a
// device, replicas, experts nobody holds, fixed costs, costs per expert, a shared medium.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "bsd/moe/selection.h"

namespace wdmoe::bsd {

struct CellShape {
  std::size_t rows, experts, devices, top_k;
  bool replicas = false, orphans = false, fixed = false, per_choice = false, airtime = false;
};

/// Owns what a SelectionInput points to.
struct RandomCell {
  CellShape shape;
  std::vector<float> probabilities;
  Holders holders;
  std::vector<double> fixed, per_row, per_choice, airtime, air_per_choice, air_fixed;

  RandomCell(const CellShape& cell, std::mt19937& random) : shape(cell) {
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> uniform(0, 1);
    const double sharpness = 0.5 + 2 * uniform(random);
    for (std::size_t row = 0; row < shape.rows; ++row) {
      std::vector<double> e(shape.experts);
      double sum = 0;
      for (double& v : e) sum += v = std::exp(sharpness * normal(random));
      for (const double v : e) probabilities.push_back(static_cast<float>(v / sum));
    }
    holders.resize(shape.experts);
    for (std::size_t expert = 0; expert < shape.experts; ++expert) {
      if (shape.orphans && expert > 0 && uniform(random) < 0.2) continue;
      const std::size_t first = (expert + random() % 2) % shape.devices;
      holders[expert].push_back(static_cast<std::uint16_t>(first));
      const std::size_t second = random() % shape.devices;
      if (shape.replicas && second != first && uniform(random) < 0.4) {
        holders[expert].push_back(static_cast<std::uint16_t>(second));
      }
    }
    for (std::size_t device = 0; device < shape.devices; ++device) {
      per_row.push_back(1e-3 * std::exp(0.8 * normal(random)));
      if (shape.fixed) fixed.push_back(2e-3 * std::exp(0.5 * normal(random)));
      if (shape.airtime) airtime.push_back(per_row.back() * 0.6 * uniform(random));
    }
    if (shape.airtime && random() % 2) {  // a medium with all its costs
      for (std::size_t device = 0; device < shape.devices; ++device) {
        air_per_choice.push_back(2e-4 * uniform(random));
        air_fixed.push_back(5e-4 * uniform(random));
      }
    }
    if (!shape.per_choice) return;
    for (std::size_t i = 0; i < shape.devices * shape.experts; ++i) {
      per_choice.push_back(5e-4 * uniform(random));
    }
  }

  SelectionInput input() const {
    SelectionInput in;
    in.top_k = shape.top_k;
    in.probabilities = {probabilities.data(), shape.rows, shape.experts};
    in.holders = &holders;
    in.latencies.fixed_s = {fixed.data(), fixed.size()};
    in.latencies.per_row_s = {per_row.data(), per_row.size()};
    in.latencies.airtime_s = {airtime.data(), airtime.size()};
    in.latencies.air_per_choice_s = {air_per_choice.data(), air_per_choice.size()};
    in.latencies.air_fixed_s = {air_fixed.data(), air_fixed.size()};
    if (!per_choice.empty()) {
      in.latencies.per_choice_s = {per_choice.data(), shape.devices, shape.experts};
    }
    return in;
  }
};

/// A shape of at most `rows` x `experts` x `devices`, each option on half of the time.
inline CellShape random_shape(std::size_t rows, std::size_t experts, std::size_t devices,
                              std::mt19937& random) {
  CellShape shape{};
  shape.rows = 1 + random() % rows;
  shape.experts = 2 + random() % (experts - 1);
  shape.devices = 1 + random() % devices;
  shape.top_k = 1 + random() % std::min<std::size_t>(shape.experts, 3);
  shape.replicas = random() % 2;
  shape.orphans = random() % 4 == 0;
  shape.fixed = random() % 2;
  shape.per_choice = random() % 2;
  shape.airtime = random() % 2;
  return shape;
}

}  // namespace wdmoe::bsd
