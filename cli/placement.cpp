#include "cli/placement.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bsd/radio/allocate.h"
#include "bsd/trace/reader.h"
#include "bsd/trace/statistics.h"
#include "cli/progress.h"
#include "sim/cell.h"

namespace wdmoe::cli {
namespace {

/// A cell at its mean gains, to which expected loads are given.
class Forecaster {
 public:
  Forecaster(const PlacementRequest& request, const sim::Scenario& cell)
      : pipelined_(cell.cell.pipelined()) {
    sim::Scenario still = cell;
    still.model.hidden = request.hidden;
    still.model.ffn = request.ffn;
    still.channel.fading = "none";
    still.generated.jitter = 0;
    for (sim::DeviceSpec& device : still.devices) device.jitter = 0;
    const sim::Cell drawn(still, kSeed);
    devices_.assign(drawn.demands().begin(), drawn.demands().end());
    loaded_ = devices_;
    problem_ = {still.cell.medium_kind(), Hertz(still.cell.bandwidth_hz), still.cell.noise(),
                still.bits_per_row(), loaded_};
  }
  Forecaster(const Forecaster&) = delete;  // problem_ points into it
  Forecaster& operator=(const Forecaster&) = delete;

  static constexpr std::uint64_t kSeed = 1;  // of devices that the scenario draws

  /// What a layer with these loads waits for; infinite where a device has no link.
  double waiting(Span<const bsd::ExpectedLoad> loads) {
    const auto shares = allocate(loads);
    if (!shares) return std::numeric_limits<double>::infinity();
    double latest = 0;
    for (std::size_t k = 0; k < loaded_.size(); ++k)
      latest = std::max(latest, latency(k, shares->devices[k]));
    return latest;
  }

  /// Adds one layer's part to the agents' means.
  void add_layer(Span<const bsd::ExpectedLoad> loads, double layers,
                 std::vector<AgentForecast>& agents) {
    const auto shares = allocate(loads);
    if (!shares) return;
    for (std::size_t k = 0; k < agents.size(); ++k) {
      const radio::DeviceShare& share = shares->devices[k];
      Hertz band = share.bandwidth_dl;
      if (problem_.medium == radio::Medium::airtime) band += share.bandwidth_ul;
      agents[k].rows += loads[k].rows / layers;
      agents[k].band_share += band / problem_.bandwidth / layers;
      agents[k].latency_s += latency(k, share) / layers;
    }
  }

 private:
  Result<radio::Allocation> allocate(Span<const bsd::ExpectedLoad> loads) {
    for (std::size_t k = 0; k < loaded_.size(); ++k) {
      const double rows = loads[k].rows > kLeastRows ? loads[k].rows : 0.0;
      loaded_[k].tokens = rows;
      loaded_[k].compute_per_token =
          devices_[k].compute_per_token * (rows > 0 ? loads[k].visits / rows : 1.0);
    }
    return allocator_.solve(problem_);
  }

  double latency(std::size_t k, const radio::DeviceShare& share) const {
    const radio::DeviceDemand& device = loaded_[k];
    if (!pipelined_) return share.latency.count();
    return radio::pipelined_finish_time(problem_, device, share.bandwidth_dl, share.bandwidth_ul)
        .count();
  }

  static constexpr double kLeastRows = 1e-9;  // fewer are none: an expert that nobody asks for

  bool pipelined_;
  std::vector<radio::DeviceDemand> devices_, loaded_;
  radio::AllocationProblem problem_;
  radio::Allocator allocator_;
};

Result<bsd::Placement> choose(const PlacementRequest& request, const bsd::PlacementProblem& problem,
                              const std::vector<sim::DeviceSpec>& devices) {
  if (!request.paper) return bsd::place_experts(problem, request.replicas);
  bsd::Placement paper =
      bsd::paper_placement(request.layers, request.experts, problem.memory_bytes.size());
  const auto held = bsd::count_held(paper, devices.size());
  for (std::size_t device = 0; device < held.size(); ++device) {
    if (held[device] * problem.expert_bytes <= problem.memory_bytes[device]) continue;
    return fail(Code::limit,
                fmt::format("device {} would hold {} experts in {}, it has {}: more memory, more "
                            "devices, or --placement latency",
                            devices[device].name, held[device],
                            human_bytes(held[device] * problem.expert_bytes),
                            human_bytes(problem.memory_bytes[device])));
  }
  return paper;
}

}  // namespace

std::vector<double> uniform_popularity(std::size_t layers, std::size_t experts, std::size_t top_k) {
  return std::vector<double>(layers * experts,
                             static_cast<double>(top_k) / static_cast<double>(experts));
}

Result<std::vector<double>> popularity_of(const std::string& trace, std::size_t layers,
                                          std::size_t experts, std::size_t top_k) {
  const auto reader = bsd::trace::Reader::open(trace);
  if (!reader) return tl::unexpected<Error>(reader.error());
  const bsd::trace::Header& header = (*reader)->header();
  if (header.layers != layers || header.experts != experts)
    return fail(Code::bad_input,
                fmt::format("{}: of a model with {} layers of {} experts, this one has {} of {}: "
                            "record a trace of this model",
                            trace, header.layers, header.experts, layers, experts));
  const auto statistics = bsd::trace::read_statistics(**reader);
  if (!statistics) return fail(trace, statistics.error());
  std::vector<double> popularity = uniform_popularity(layers, experts, top_k);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const bsd::trace::LayerStatistics& of = statistics->layers()[layer];
    if (of.tally.rows == 0) continue;
    for (std::size_t expert = 0; expert < experts; ++expert)
      popularity[layer * experts + expert] =
          static_cast<double>(of.chosen[expert]) / static_cast<double>(of.tally.rows);
  }
  return popularity;
}

Result<PlacementForecast> forecast(const PlacementRequest& request, const sim::Scenario& cell) {
  const auto devices = cell.devices_for(Forecaster::kSeed);
  Forecaster forecaster(request, cell);
  std::vector<std::uint64_t> memory;
  for (const sim::DeviceSpec& device : devices)
    memory.push_back(static_cast<std::uint64_t>(device.memory_bytes));
  bsd::PlacementProblem problem;
  problem.layers = request.layers;
  problem.experts = request.experts;
  problem.rows = static_cast<double>(request.rows);
  problem.popularity = {request.popularity.data(), request.layers, request.experts};
  problem.expert_bytes = request.expert_bytes;
  problem.memory_bytes = memory;
  problem.waiting = [&](Span<const bsd::ExpectedLoad> loads) { return forecaster.waiting(loads); };

  const auto placement = choose(request, problem, devices);
  if (!placement) return tl::unexpected<Error>(placement.error());
  PlacementForecast out;
  out.waiting_s = bsd::predicted_latency(problem, *placement);
  const auto paper = bsd::paper_placement(request.layers, request.experts, devices.size());
  out.paper_waiting_s = bsd::predicted_latency(problem, paper);
  out.paper_fits = bsd::fits(problem, paper);
  for (std::size_t k = 0; k < devices.size(); ++k) {
    AgentForecast& agent = out.agents.emplace_back();
    agent.name = devices[k].name;
    agent.memory_bytes = memory[k];
  }
  for (std::size_t layer = 0; layer < request.layers; ++layer) {
    const bsd::Holders& holders = (*placement)[layer];
    for (std::size_t expert = 0; expert < holders.size(); ++expert)
      for (const std::uint16_t device : holders[expert])
        out.agents[device].experts.emplace_back(layer, expert);
    forecaster.add_layer(bsd::expected_loads(problem, layer, holders),
                         static_cast<double>(request.layers), out.agents);
  }
  for (AgentForecast& agent : out.agents)
    agent.used_bytes = agent.experts.size() * request.expert_bytes;
  return out;
}

std::string plan_file(const PlacementForecast& forecast) {
  nlohmann::ordered_json agents = nlohmann::ordered_json::array();
  for (const AgentForecast& agent : forecast.agents)
    if (!agent.experts.empty())
      agents.push_back({{"name", agent.name}, {"experts", agent.experts}});
  return nlohmann::ordered_json{{"agents", agents}}.dump() + "\n";
}

nlohmann::ordered_json as_json(const PlacementForecast& forecast, const PlacementRequest& request) {
  nlohmann::ordered_json agents = nlohmann::ordered_json::array();
  for (const AgentForecast& agent : forecast.agents)
    agents.push_back({{"name", agent.name},
                      {"experts", agent.experts},
                      {"memory_bytes", agent.memory_bytes},
                      {"used_bytes", agent.used_bytes},
                      {"rows_per_layer", agent.rows},
                      {"band_share", agent.band_share},
                      {"latency_s", agent.latency_s}});
  return {{"placement", request.paper ? "paper" : "latency"},
          {"replicas", request.replicas},
          {"rows", request.rows},
          {"expert_bytes", request.expert_bytes},
          {"waiting_latency_s", forecast.waiting_s},
          {"paper_waiting_latency_s", forecast.paper_waiting_s},
          {"paper_fits", forecast.paper_fits},
          {"agents", agents}};
}

std::string as_text(const PlacementForecast& forecast, const PlacementRequest& request) {
  std::string text = fmt::format("{:<20} {:>7} {:>23} {:>10} {:>6} {:>11}\n", "agent", "experts",
                                 "memory", "rows/layer", "band", "ms/layer");
  for (const AgentForecast& agent : forecast.agents)
    text += fmt::format("{:<20} {:>7} {:>23} {:>10.1f} {:>5.1f}% {:>11.3f}\n", agent.name,
                        agent.experts.size(),
                        human_bytes(agent.used_bytes) + " of " + human_bytes(agent.memory_bytes),
                        agent.rows, 100 * agent.band_share, 1e3 * agent.latency_s);
  text += fmt::format("predicted waiting latency of a batch of {} rows, all layers: {:.3f} ms\n",
                      request.rows, 1e3 * forecast.waiting_s);
  text += fmt::format(
      "with the paper's placement (expert k on device k mod {}): {:.3f} ms, {:+.1f} %{}\n",
      forecast.agents.size(), 1e3 * forecast.paper_waiting_s,
      100 * (forecast.paper_waiting_s / forecast.waiting_s - 1),
      forecast.paper_fits ? "" : "; it does not fit the devices' memory");
  return text;
}

}  // namespace wdmoe::cli
