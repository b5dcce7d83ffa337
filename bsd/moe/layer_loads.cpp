#include "bsd/moe/layer_loads.h"

#include <algorithm>

namespace wdmoe::bsd {
namespace {

constexpr int kParts = 4;  // an expert's rows go to replicas in so many parts

}  // namespace

LayerLoads load_layer(const PlacementProblem& problem, std::size_t layer, const Holders& holders) {
  const double* const popularity = problem.popularity.row(layer);
  LayerLoads loads(problem);
  std::vector<std::size_t> shared;
  for (std::size_t expert = 0; expert < holders.size(); ++expert) {
    if (holders[expert].size() == 1) loads.add(holders[expert].front(), popularity[expert]);
    if (holders[expert].size() > 1) shared.push_back(expert);
  }
  std::stable_sort(shared.begin(), shared.end(),
                   [&](std::size_t a, std::size_t b) { return popularity[a] > popularity[b]; });
  std::vector<double> already;  // [holders] of one expert
  for (const std::size_t expert : shared) {
    const double part = popularity[expert] / kParts;
    const auto& devices = holders[expert];
    already.assign(devices.size(), 0.0);
    for (int repetition = 0; repetition < kParts; ++repetition) {
      std::size_t best = 0;
      double earliest = kEndless;
      for (std::size_t index = 0; index < devices.size(); ++index) {
        const double latency = loads.waiting_with(devices[index], part, already[index]);
        if (!(latency < earliest)) continue;
        earliest = latency;
        best = index;
      }
      loads.add(devices[best], part, already[best]);
      already[best] += part;
    }
  }
  return loads;
}

}  // namespace wdmoe::bsd
