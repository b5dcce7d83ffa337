#pragma once
// The core of `wdmoe plan`: a model's shape, a cell and popularities in; who holds what, and what
// that is predicted to wait, out.  Pure, apart from the trace it may read.

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bsd/moe/placement.h"
#include "common/result.h"
#include "sim/scenario.h"

namespace wdmoe::cli {

struct PlacementRequest {
  std::size_t layers = 0, experts = 0, top_k = 0, hidden = 0, ffn = 0;
  std::uint64_t expert_bytes = 0;  ///< of one expert of one layer
  std::vector<double> popularity;  ///< [layers, experts] probability that a row visits the expert
  std::size_t rows = 64;           ///< of a batch
  bool paper = false;              ///< the paper's placement, whatever it costs
  bool replicas = false;
};

/// Every expert alike: top_k / experts.
std::vector<double> uniform_popularity(std::size_t layers, std::size_t experts, std::size_t top_k);

/// From a recorded trace; rows of a layer that the trace lacks count as uniform.
/// Errors: those of trace::Reader; bad_input if it is of a model of another shape.
Result<std::vector<double>> popularity_of(const std::string& trace, std::size_t layers,
                                          std::size_t experts, std::size_t top_k);

struct AgentForecast {
  std::string name;
  std::vector<std::pair<std::size_t, std::size_t>> experts;  ///< (layer, expert), sorted
  std::uint64_t memory_bytes = 0, used_bytes = 0;
  // Means over the layers, for one batch:
  double rows = 0;        ///< distinct rows it is sent
  double band_share = 0;  ///< of the downlink's band (airtime: of all turns), 0…1
  double latency_s = 0;   ///< until it is done
};

struct PlacementForecast {
  std::vector<AgentForecast> agents;  ///< every device of the cell, with or without experts
  double waiting_s = 0;               ///< of all layers, for one batch
  double paper_waiting_s = 0;         ///< the same with the paper's placement
  bool paper_fits = false;            ///< in everybody's memory
};

/// Predicts with the exact allocator and mean gains (no fading, no jitter).
/// Errors: limit if the memory does not suffice, for the paper's placement naming the device.
Result<PlacementForecast> forecast(const PlacementRequest& request, const sim::Scenario& cell);

/// The plan file that `wdmoe split` reads (weights/split_plan.h); agents without experts left out.
std::string plan_file(const PlacementForecast& forecast);
nlohmann::ordered_json as_json(const PlacementForecast& forecast, const PlacementRequest& request);
std::string as_text(const PlacementForecast& forecast, const PlacementRequest& request);

}  // namespace wdmoe::cli
