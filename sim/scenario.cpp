#include "sim/scenario.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "bsd/moe/catalogue.h"
#include "bsd/radio/latency.h"
#include "bsd/radio/link.h"
#include "common/config.h"
#include "sim/random.h"
#include "sim/scenario_keys.h"

namespace wdmoe::sim {
namespace {

std::vector<std::string> policy_names() {
  std::vector<std::string> names;
  for (const bsd::PolicyEntry& policy : bsd::policies()) names.emplace_back(policy.name);
  return names;
}

Check texts(std::vector<std::string> choices) {
  Check check = one_of(std::move(choices));
  check.not_empty = true;
  return check;
}

Check upto(std::size_t least, std::size_t most) {
  return between(static_cast<double>(least), static_cast<double>(most));
}

/// The keys of one file section after the other; ranges keep every product finite.
struct Keys {
  Scenario& s;

  template <class Visitor>
  void visit(Visitor&& v) {
    v("name", s.name, anything(), "of the scenario, in results and figures");
    visit_medium(v, s.cell);
    v("cell.latency", s.cell.latency, one_of({"summed", "pipelined"}), "latency model");
    visit_band(v, s.cell);
    v("cell.bits_per_element", s.cell.bits_per_element, between(1, 64), "of an activation");
    v("cell.round_trip_s", s.cell.round_trip_s, between(0, 10), "once per exchange and device");
    visit_channel(v, s.channel, s.mobility);
    v("devices.count", s.generated.count, upto(0, kMostDevices), "devices to draw");
    v("devices.distance_min_m", s.generated.distance_min_m, between(1, 1e5), "nearest");
    v("devices.distance_max_m", s.generated.distance_max_m, between(1, 1e5), "farthest");
    v("devices.power_w", s.generated.power_w, between(1e-6, 1e4), "transmit power");
    v("devices.compute_min_flops", s.generated.compute_min_flops, between(1e6, 1e18), "slowest");
    v("devices.compute_max_flops", s.generated.compute_max_flops, between(1e6, 1e18), "fastest");
    v("devices.jitter", s.generated.jitter, between(0, 3), "of compute time, relative");
    v("devices.memory_bytes", s.generated.memory_bytes, between(0, 1e15), "for experts");
    v("model.hidden", s.model.hidden, upto(1, 65536), "m");
    v("model.ffn", s.model.ffn, upto(1, 1048576), "m_h");
    v("model.layers", s.model.layers, upto(1, kMostLayers), "MoE layers");
    v("model.experts", s.model.experts, upto(1, kMostExperts), "per layer");
    v("model.top_k", s.model.top_k, upto(1, 64), "experts a row visits");
    v("workload.trace", s.workload.trace, anything(), "trace file; empty: synthetic gate");
    v("workload.rows", s.workload.rows, upto(1, kMostRows), "per batch");
    v("workload.batches", s.workload.batches, upto(1, kMostBatches), "to simulate");
    v("workload.spread", s.workload.spread, between(0, 20), "of a row's gate logits");
    v("workload.skew", s.workload.skew, between(0, 20), "of the experts' popularity");
    v("workload.locality", s.workload.locality, between(0, 0.9999), "of successive rows");
    v("run.policies", s.run.policies, texts(policy_names()), "to compare");
    v("run.allocators", s.run.allocators, texts({"equal", "exact"}), "to compare");
    v("run.seeds", s.run.seeds, upto(1, kMostSeeds), "independent repetitions");
    v("run.quality", s.run.quality, between(0, 1), "knob of budget and minmax");
    v("run.beta", s.run.beta, between(0, 1), "knob of beta");
    v("run.theta", s.run.theta, between(0, 1), "knob of wlr");
    v("sweep.key", s.sweep.key, anything(), "the setting that changes");
    v("sweep.values", s.sweep.values, anything(), "its values");
    v("sweep.label", s.sweep.label, anything(), "of the figures' axis");
    v("sweep.scale", s.sweep.scale, between(1e-15, 1e15), "of the figures' axis");
  }
};

struct DeviceKeys {
  DeviceSpec& device;

  template <class Visitor>
  void visit(Visitor&& v) {
    v("name", device.name, not_empty(), "how it is called");
    visit_place(v, device);
    v("compute_flops", device.compute_flops, between(1e6, 1e18), "FLOP/s it reaches");
    v("jitter", device.jitter, between(0, 3), "of compute time, relative");
    v("memory_bytes", device.memory_bytes, between(0, 1e15), "for experts");
    v("experts", device.experts, upto(0, kMostExperts - 1), "of every layer");
  }
};

template <class KeysOf, class Target>
std::vector<Setting> settings_for(Target& target) {
  KeysOf keys{target};
  return settings_of(keys);  // refers to the target's fields only
}

/// Texts that end up in figures and file names.
Result<void> check_label(const char* key, const std::string& text) {
  constexpr std::size_t kLongest = 64;
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](char letter) { return letter >= ' ' && letter <= '~'; });
  if (text.size() > kLongest || !plain)
    return fail(Code::bad_input, std::string(key) + ": expected at most " +
                                     std::to_string(kLongest) + " printable ASCII characters");
  return {};
}

Result<void> check_experts(const Scenario& scenario) {
  const bool listed = std::any_of(scenario.devices.begin(), scenario.devices.end(),
                                  [](const DeviceSpec& device) { return !device.experts.empty(); });
  if (!listed) return {};
  std::vector<bool> held(scenario.model.experts);
  for (const DeviceSpec& device : scenario.devices) {
    for (const double expert : device.experts) {
      if (expert != std::floor(expert) || expert >= static_cast<double>(held.size()))
        return fail(Code::bad_input, "device " + device.name +
                                         ": experts: expected whole numbers below " +
                                         std::to_string(held.size()) + " (model.experts)");
      held[static_cast<std::size_t>(expert)] = true;
    }
  }
  const auto missing = std::find(held.begin(), held.end(), false);
  if (missing != held.end())
    return fail(Code::bad_input, "no device holds expert " +
                                     std::to_string(missing - held.begin()) +
                                     ": list it in some device's experts, or give no lists at all");
  return {};
}

/// What no single key can tell.
Result<void> check(const Scenario& s) {
  WDMOE_TRY(check_label("name", s.name));
  WDMOE_TRY(check_label("sweep.label", s.sweep.label));
  if (s.devices.empty() == (s.generated.count == 0))
    return fail(Code::bad_input, "expected either [[device]] sections or devices.count > 0");
  if (s.model.top_k > s.model.experts)
    return fail(Code::bad_input,
                "model.top_k = " + std::to_string(s.model.top_k) +
                    ": expected at most model.experts = " + std::to_string(s.model.experts));
  if (s.generated.distance_min_m > s.generated.distance_max_m)
    return fail(Code::bad_input, "devices.distance_min_m is above devices.distance_max_m");
  if (s.generated.compute_min_flops > s.generated.compute_max_flops)
    return fail(Code::bad_input, "devices.compute_min_flops is above devices.compute_max_flops");
  if (s.sweep.key.empty() != s.sweep.values.empty())
    return fail(Code::bad_input, "sweep.key and sweep.values: expected both or neither");
  for (const std::size_t count : {s.sweep.values.size(), s.run.quality.size(), s.run.beta.size(),
                                  s.run.theta.size(), s.run.policies.size()})
    if (count > kMostValues)
      return fail(Code::limit, "a list in [run] or [sweep] has " + std::to_string(count) +
                                   " entries, at most " + std::to_string(kMostValues) +
                                   " are allowed");
  return check_experts(s);
}

Result<void> set_number(Scenario& scenario, const std::string& key, double value) {
  for (const Setting& setting : settings_for<Keys>(scenario)) {
    if (setting.key != key || key == "run.seeds") continue;
    const Value current = setting.get();
    if (std::holds_alternative<std::int64_t>(current)) {
      if (value != std::floor(value) || std::abs(value) > 1e15)
        return fail(Code::bad_input, "sweep.values: " + key + " takes whole numbers only");
      return assign(setting, Value(static_cast<std::int64_t>(value)), "sweep of " + key);
    }
    if (std::holds_alternative<double>(current))
      return assign(setting, Value(value), "sweep of " + key);
    if (std::holds_alternative<std::vector<double>>(current))  // a knob: one value of it
      return assign(setting, Value(std::vector<double>{value}), "sweep of " + key);
    return fail(Code::bad_input, "sweep.key = " + key + " is no number");
  }
  return fail(Code::bad_input, "sweep.key = '" + key + "' is no key of a scenario");
}

}  // namespace

radio::Medium CellSpec::medium_kind() const {
  return radio::medium_from(medium).value();
}

WattsPerHertz CellSpec::noise() const {
  return WattsPerHertz(1e-3 * radio::ratio_from(Decibels(noise_dbm_per_hz)));
}

std::size_t Scenario::device_count() const {
  return devices.empty() ? generated.count : devices.size();
}

std::vector<DeviceSpec> Scenario::devices_for(std::uint64_t seed) const {
  if (!devices.empty()) return devices;
  std::vector<DeviceSpec> drawn(generated.count);
  std::mt19937_64 random = random_stream(seed, Stream::devices);
  std::uniform_real_distribution<double> part;
  for (std::size_t index = 0; index < drawn.size(); ++index) {
    DeviceSpec& device = drawn[index];
    device.name = "device-" + std::to_string(index);
    device.distance_m = std::lerp(generated.distance_min_m, generated.distance_max_m, part(random));
    device.power_w = generated.power_w;
    device.compute_flops = std::exp(std::lerp(std::log(generated.compute_min_flops),
                                              std::log(generated.compute_max_flops), part(random)));
    device.jitter = generated.jitter;
    device.memory_bytes = generated.memory_bytes;
  }
  return drawn;
}

bsd::Holders Scenario::holders() const {
  bsd::Holders holders(model.experts);
  const std::size_t count = device_count(), period = std::min(count, model.experts);
  const bool listed = std::any_of(devices.begin(), devices.end(),
                                  [](const DeviceSpec& device) { return !device.experts.empty(); });
  for (std::size_t device = 0; device < count; ++device) {
    const auto number = static_cast<std::uint16_t>(device);
    if (listed) {
      for (const double expert : devices[device].experts)
        holders[static_cast<std::size_t>(expert)].push_back(number);
    } else {
      for (std::size_t expert = device % period; expert < model.experts; expert += period)
        holders[expert].push_back(number);
    }
  }
  return holders;
}

Bits Scenario::bits_per_row() const {
  return radio::payload(model.hidden, cell.bits_per_element);
}

Flops Scenario::work_per_visit() const {
  return radio::work({model.hidden, model.ffn});
}

Result<Scenario> parse_scenario(std::string_view text, std::string_view file) {
  Scenario scenario;
  const SettingList devices{"device", kMostDevices, [&] {
                              DeviceSpec& device = scenario.devices.emplace_back();
                              device.name = "device-" + std::to_string(scenario.devices.size() - 1);
                              return settings_for<DeviceKeys>(device);
                            }};
  WDMOE_TRY(
      read_toml(text, file, settings_for<Keys>(scenario), Span<const SettingList>(&devices, 1)));
  const auto consistent = check(scenario);
  if (!consistent) return fail(file, consistent.error());
  for (const double value : scenario.sweep.values) {
    const auto point = at_sweep_value(scenario, value);
    if (!point) return fail(file, point.error());
  }
  return scenario;
}

Result<Scenario> load_scenario(const std::string& path) {
  const auto text = read_config_file(path);
  if (!text) return tl::unexpected<Error>(text.error());
  auto scenario = parse_scenario(*text, path);
  if (scenario && scenario->name.empty())
    scenario->name = std::filesystem::path(path).stem().string();
  return scenario;
}

std::string print_scenario() {
  Scenario scenario;
  return print_toml(settings_for<Keys>(scenario));
}

Result<Scenario> at_sweep_value(const Scenario& scenario, double value) {
  Scenario point = scenario;
  WDMOE_TRY(set_number(point, scenario.sweep.key, value));
  WDMOE_TRY(check(point));
  return point;
}

}  // namespace wdmoe::sim
