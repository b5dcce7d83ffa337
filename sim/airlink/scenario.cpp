#include "sim/airlink/scenario.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include <arpa/inet.h>

#include "sim/airlink/namespaces.h"
#include "sim/scenario_keys.h"

namespace wdmoe::airlink {
namespace {

constexpr std::size_t kLongestName = 20;

struct Keys {
  Scenario& s;

  template <class Visitor>
  void visit(Visitor&& v) {
    v("name", s.name, anything(), "of the cell and its namespaces; default: the file's");
    v("seed", s.seed, between(0, 1e15), "of fading, walks, jitter and loss");
    v("update_ms", s.update_ms, between(1, 60'000), "steps in which the channel moves");
    v("network.address", s.address, not_empty(), "of the base station; devices follow, /24");
    v("network.mtu", s.mtu, between(576, 9000), "bytes of an IP packet");
    v("network.bs_on_host", s.bs_on_host, anything(),
      "base station's end: no namespace of its own");
    sim::visit_medium(v, s.cell);
    sim::visit_band(v, s.cell);
    sim::visit_channel(v, s.channel, s.mobility);
  }
};

struct DeviceKeys {
  Device& d;

  template <class Visitor>
  void visit(Visitor&& v) {
    v("name", d.place.name, not_empty(), "how it is called");
    sim::visit_place(v, d.place);
    v("down_mbit", d.down_mbit, between(0, 10'000), "Mbit/s to it; 0: from channel and distance");
    v("up_mbit", d.up_mbit, between(0, 10'000), "Mbit/s from it; 0: from channel and distance");
    v("delay_ms", d.delay_ms, between(0, 10'000), "each way");
    v("jitter_ms", d.jitter_ms, between(0, 10'000), "standard deviation of the delay");
    v("loss", d.loss, between(0, 1), "share of packets");
    v("queue_kb", d.queue_kb, between(2, 65'536), "1000 bytes, each way");
    v("on_host", d.on_host, anything(), "its end has no namespace of its own");
  }
};

struct EventKeys {
  Event& e;

  template <class Visitor>
  void visit(Visitor&& v) {
    v("at_s", e.at_s, between(0, 1e6), "from the start");
    v("device", e.device, anything(), "its name; empty: all");
    v("rate_factor", e.rate_factor, between(-1, 1000), "times the rate without events");
    v("delay_ms", e.delay_ms, between(-1, 10'000), "each way");
    v("loss", e.loss, between(-1, 1), "share of packets");
  }
};

/// Names become parts of file names below /run/netns.
Result<void> check_name(const std::string& what, const std::string& name) {
  const bool plain = !name.empty() && name.size() <= kLongestName &&
                     std::all_of(name.begin(), name.end(), [](char letter) {
                       return (letter >= 'a' && letter <= 'z') ||
                              (letter >= '0' && letter <= '9') || letter == '-';
                     });
  if (plain) return {};
  return fail(Code::bad_input, what + " '" + name + "': expected 1 to " +
                                   std::to_string(kLongestName) +
                                   " lower-case letters, digits and hyphens");
}

Result<void> check_devices(const Scenario& s) {
  if (s.devices.empty()) return fail(Code::bad_input, "expected at least one [[device]]");
  std::set<std::string> names;
  std::size_t on_host = s.bs_on_host ? 1 : 0;
  for (const Device& device : s.devices) {
    WDMOE_TRY(check_name("device name", device.place.name));
    if (device.place.name == kBaseStation || !names.insert(device.place.name).second)
      return fail(Code::bad_input, "device name '" + device.place.name + "' is taken");
    on_host += device.on_host ? 1 : 0;
  }
  if (on_host > 1)
    return fail(Code::bad_input,
                "more than one of network.bs_on_host and on_host is true: two ends in one network "
                "namespace would talk past the air");
  for (const Event& event : s.events)
    if (!event.device.empty() && names.count(event.device) == 0)
      return fail(Code::bad_input, "event: no device is called '" + event.device + "'");
  return {};
}

Result<void> check_address(const Scenario& s) {
  in_addr parsed{};
  if (inet_pton(AF_INET, s.address.c_str(), &parsed) != 1)
    return fail(Code::bad_input, "network.address = '" + s.address + "': expected an IPv4 address");
  const std::size_t host = ntohl(parsed.s_addr) & 0xff;
  if (host == 0 || host + s.devices.size() > 254)
    return fail(Code::bad_input, "network.address = " + s.address + ": its last number and " +
                                     std::to_string(s.devices.size()) +
                                     " devices after it must lie in 1 to 254");
  return {};
}

Result<void> check(const Scenario& s) {
  if (!s.name.empty()) WDMOE_TRY(check_name("name", s.name));
  WDMOE_TRY(check_devices(s));
  return check_address(s);
}

template <class KeysOf, class Target>
std::vector<Setting> settings_for(Target& target) {
  KeysOf keys{target};
  return settings_of(keys);  // refers to the target's fields only
}

}  // namespace

std::string Scenario::address_of(std::size_t device) const {
  in_addr parsed{};
  inet_pton(AF_INET, address.c_str(), &parsed);
  parsed.s_addr = htonl(ntohl(parsed.s_addr) + static_cast<std::uint32_t>(device) + 1);
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &parsed, text, sizeof text);
}

std::string Scenario::bs_namespace() const {
  return bs_on_host ? "" : namespace_name(name, kBaseStation);
}

std::string Scenario::namespace_of(std::size_t device) const {
  return devices[device].on_host ? "" : namespace_name(name, devices[device].place.name);
}

std::vector<std::string> Scenario::namespaces() const {
  std::vector<std::string> names;
  if (!bs_on_host) names.push_back(bs_namespace());
  for (std::size_t device = 0; device < devices.size(); ++device)
    if (!devices[device].on_host) names.push_back(namespace_of(device));
  return names;
}

Result<Scenario> parse_scenario(std::string_view text, std::string_view file) {
  Scenario scenario;
  const SettingList lists[] = {
      {"device", kMostDevices,
       [&] {
         Device& device = scenario.devices.emplace_back();
         device.place.name = "device-" + std::to_string(scenario.devices.size() - 1);
         return settings_for<DeviceKeys>(device);
       }},
      {"event", kMostEvents,
       [&] { return settings_for<EventKeys>(scenario.events.emplace_back()); }}};
  WDMOE_TRY(read_toml(text, file, settings_for<Keys>(scenario), lists));
  if (const auto consistent = check(scenario); !consistent) return fail(file, consistent.error());
  std::stable_sort(scenario.events.begin(), scenario.events.end(),
                   [](const Event& a, const Event& b) { return a.at_s < b.at_s; });
  return scenario;
}

Result<Scenario> load_scenario(const std::string& path) {
  const auto text = read_config_file(path);
  if (!text) return tl::unexpected<Error>(text.error());
  auto scenario = parse_scenario(*text, path);
  if (!scenario || !scenario->name.empty()) return scenario;
  scenario->name = std::filesystem::path(path).stem().string();
  if (const auto good = check_name("name", scenario->name); !good) return fail(path, good.error());
  return scenario;
}

std::string print_scenario() {
  Scenario scenario;
  return print_toml(settings_for<Keys>(scenario));
}

}  // namespace wdmoe::airlink
