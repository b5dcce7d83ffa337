#include "bsd/actuators.h"

#include <algorithm>
#include <stdexcept>

#include "bsd/fleet/order_actuator.h"
#include "bsd/fleet/uplink_actuator.h"
#include "bsd/shaping/classes.h"
#include "bsd/shaping/dry_run.h"
#include "bsd/shaping/ownership.h"
#include "bsd/shaping/privileges.h"
#include "bsd/shaping/tc.h"
#include "bsd/shaping/wifi.h"

namespace wdmoe::bsd {
namespace {

using Made = std::unique_ptr<shaping::Actuator>;

Made make_tc(const Config& config, Fleet&) {
  return require(
      shaping::Tc::open({config.radio_interface, shaping::Records::default_directory()}));
}

Made make_uplink(const Config&, Fleet& fleet) {
  return std::make_unique<UplinkActuator>(fleet);
}

Made make_wifi(const Config& config, Fleet&) {
  const auto given = [](std::uint32_t value) {
    return value == 0 ? std::nullopt : std::optional<std::uint32_t>(value);
  };
  return require(shaping::Wifi::open(
      {config.radio_interface,
       shaping::Records::default_directory(),
       {given(config.radio_wifi_queue_packets), given(config.radio_wifi_quantum_bytes)}}));
}

Made make_order(const Config&, Fleet& fleet) {
  return std::make_unique<OrderActuator>(fleet);
}

Made make_dry_run(const Config&, Fleet&) {
  return std::make_unique<shaping::DryRun>();
}

struct Entry {
  const char* name;
  bool needs_interface;  // and CAP_NET_ADMIN
  Made (*make)(const Config&, Fleet&);
};

constexpr Entry kActuators[] = {
    {"tc", true, make_tc},        {"wifi", true, make_wifi},        {"uplink", false, make_uplink},
    {"order", false, make_order}, {"dry-run", false, make_dry_run},
};

const Entry& entry_of(const std::string& name) {
  for (const Entry& entry : kActuators)
    if (name == entry.name) return entry;
  std::string names;
  for (const Entry& entry : kActuators)
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  throw ConfigError("radio.actuators: '" + name + "' is no actuator: expected " + names);
}

}  // namespace

void check_actuators(const Config& config) {
  const auto& names = config.radio_actuators;
  if (names.empty()) return;
  if (config.local_experts)
    throw ConfigError("radio.actuators: there is no radio with fleet.local_experts; leave one out");
  for (const std::string& name : names) {
    const Entry& entry = entry_of(name);
    if (std::count(names.begin(), names.end(), name) > 1)
      throw ConfigError("radio.actuators: '" + name + "' is there twice");
    if (!entry.needs_interface) continue;
    if (config.radio_interface.empty())
      throw ConfigError("radio.interface is empty: " + name +
                        " needs the interface that carries the agents' traffic");
    if (!shaping::may_administer_network())
      throw std::runtime_error(
          "radio.actuators: " + name +
          " needs CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN in the unit), or leave it out");
  }
}

std::vector<Made> make_actuators(const Config& config, Fleet& fleet) {
  check_actuators(config);
  std::vector<Made> actuators;
  for (const std::string& name : config.radio_actuators)
    actuators.push_back(entry_of(name).make(config, fleet));
  return actuators;
}

Connections::PriorityOf priority_of(const Config& config) {
  const auto& names = config.radio_actuators;
  if (std::find(names.begin(), names.end(), "tc") == names.end()) return {};
  return [](std::size_t device) { return shaping::class_of(device); };
}

}  // namespace wdmoe::bsd
