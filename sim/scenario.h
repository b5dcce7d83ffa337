#pragma once
// A made-up cell and what is asked of it, as scenarios/*.toml say it: values only.  `wdmoe plan`
// reads its cell and devices from the same files.  docs/simulator.md lists every key.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/moe/selection.h"
#include "bsd/radio/allocate.h"
#include "common/result.h"
#include "common/units.h"

namespace wdmoe::sim {

// Bounds of what a file may ask for.
constexpr std::size_t kMostDevices = 1024, kMostExperts = 1024, kMostLayers = 256;
constexpr std::size_t kMostRows = 16384, kMostBatches = 1'000'000;
constexpr std::size_t kMostSeeds = 1000, kMostValues = 64;

struct CellSpec {
  std::string medium = "fdma_common";  ///< radio::medium_from
  std::string latency = "summed";      ///< summed: the paper's; pipelined: rows overlap
  double bandwidth_hz = 100e6;
  double carrier_hz = 3.5e9;
  double bs_power_w = 10;
  double noise_dbm_per_hz = -174;
  double bits_per_element = 16;  ///< ε, of an activation on the air
  double round_trip_s = 0;       ///< added once per exchange and device

  radio::Medium medium_kind() const;
  WattsPerHertz noise() const;
  bool pipelined() const { return latency == "pipelined"; }
};

struct ChannelSpec {
  std::string fading = "rayleigh";  ///< none, rayleigh or rician
  double rician_k_db = 6;           ///< power of the direct path over that of the scattered ones
  double coherence_s = 0.1;         ///< after this long, fading correlates with itself by 1/e
  double deepest_fade_db = -30;     ///< power below its mean; deeper fades count as this deep
};

struct MobilitySpec {
  std::string model = "none";  ///< none or random_waypoint
  double speed_m_per_s = 1;
  double radius_m = 300;  ///< of the disc around the base station in which devices walk
};

/// A device as the scenario gives it, or as drawn for one seed.
struct DeviceSpec {
  std::string name;
  double distance_m = 100;  ///< from the base station, at the start
  double power_w = 0.2;
  double compute_flops = 2e12;  ///< FLOP/s reached, C_k
  double jitter = 0;            ///< coefficient of variation of its compute time
  double memory_bytes = 8e9;    ///< for experts; read by `wdmoe plan`
  std::vector<double> experts;  ///< of every layer; empty everywhere: see Scenario::holders
};

/// Devices drawn for each seed, where the scenario lists none: uniform in distance, uniform on a
/// logarithmic axis in compute.
struct GeneratedSpec {
  std::size_t count = 0;
  double distance_min_m = 50, distance_max_m = 300;
  double power_w = 0.2;
  double compute_min_flops = 2e12, compute_max_flops = 2e12;
  double jitter = 0;
  double memory_bytes = 8e9;
};

struct ModelSpec {  // Mixtral-8x7B
  std::size_t hidden = 4096, ffn = 14336, layers = 32, experts = 8, top_k = 2;
};

struct WorkloadSpec {
  std::string trace;  ///< a recorded trace (bsd/trace); empty: the synthetic gate of sim/gate.h
  std::size_t rows = 512;    ///< per batch
  std::size_t batches = 20;  ///< of all layers
  double spread = 1;         ///< standard deviation of a row's gate logits
  double skew = 0.3;         ///< standard deviation of the experts' popularity, in logits
  double locality = 0.3;     ///< correlation of the logits of successive rows, [0, 1)
};

struct RunSpec {
  std::vector<std::string> policies = {"topk", "wlr", "history", "minmax"};
  std::vector<std::string> allocators = {"equal", "exact"};
  std::size_t seeds = 5;        ///< 1, 2, … : gate, channel and drawn devices all follow from it
  std::vector<double> quality;  ///< knob of budget and minmax; empty: the policy's own default
  std::vector<double> beta;     ///< knob of beta; empty: its default
  std::vector<double> theta;    ///< knob of wlr; empty: it searches its own
};

/// The one setting that changes from point to point.
struct SweepSpec {
  std::string key;  ///< of a number in this file, e.g. "cell.bandwidth_hz"; empty: no sweep
  std::vector<double> values;
  std::string label;  ///< of the figures' axis; empty: the key
  double scale = 1;   ///< what values are multiplied by for the figures, e.g. 1e-6 for MHz
};

struct Scenario {
  std::string name;
  CellSpec cell;
  ChannelSpec channel;
  MobilitySpec mobility;
  ModelSpec model;
  WorkloadSpec workload;
  RunSpec run;
  SweepSpec sweep;
  GeneratedSpec generated;          ///< section [devices]
  std::vector<DeviceSpec> devices;  ///< sections [[device]]; empty: drawn as `generated` says

  std::size_t device_count() const;
  /// The listed devices, or those drawn for `seed`, sorted by nothing: device k is the k-th drawn.
  std::vector<DeviceSpec> devices_for(std::uint64_t seed) const;
  /// Who holds which expert, alike in every layer: as the devices list them, or, where none does,
  /// expert e at device d if e = d modulo min(experts, devices): the paper's placement, with
  /// replicas where devices outnumber experts.
  bsd::Holders holders() const;
  Bits bits_per_row() const;     ///< L_comm
  Flops work_per_visit() const;  ///< L_comp
};

/// Errors: bad_input and limit, one line that names file, line, key and what was expected.
Result<Scenario> parse_scenario(std::string_view text, std::string_view file);
Result<Scenario> load_scenario(const std::string& path);

/// Every key but those of [[device]], with its default, range and meaning, as a scenario.
std::string print_scenario();

/// The scenario at one value of its sweep.  Errors as parse_scenario().
Result<Scenario> at_sweep_value(const Scenario& scenario, double value);

}  // namespace wdmoe::sim
