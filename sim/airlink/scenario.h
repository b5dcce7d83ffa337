#pragma once
// What wdmoe-airlink emulates, as a file says it: values only.  docs/airlink.md lists every key.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "sim/scenario.h"

namespace wdmoe::airlink {

constexpr std::size_t kMostDevices = 128;  // addresses of one /24, and flows to look through
constexpr std::size_t kMostEvents = 10'000;

/// One device and its link.
struct Device {
  sim::DeviceSpec place;  ///< name, distance and transmit power
  double down_mbit = 0;   ///< at the start and without fading; 0: what channel and distance give
  double up_mbit = 0;
  double delay_ms = 1;  ///< each way
  double jitter_ms = 0;
  double loss = 0;
  double queue_kb = 256;  ///< each way
  bool on_host = false;   ///< its end is in this network namespace instead of one of its own
};

/// From `at_s` on; negative numbers leave as it is.
struct Event {
  double at_s = 0;
  std::string device;       ///< name; empty: every device
  double rate_factor = -1;  ///< times the rate that it would have without events; 0: nothing passes
  double delay_ms = -1;
  double loss = -1;
};

struct Scenario {
  std::string name;
  std::uint64_t seed = 1;
  sim::CellSpec cell;  ///< medium and band
  sim::ChannelSpec channel;
  sim::MobilitySpec mobility;
  double update_ms = 10;              ///< the channel moves in steps of this
  std::string address = "10.77.0.1";  ///< of the base station; devices follow
  std::size_t mtu = 1500;
  bool bs_on_host = false;
  std::vector<Device> devices;
  std::vector<Event> events;  ///< by time

  /// "10.77.0.2" of device 0, and so on.
  std::string address_of(std::size_t device) const;
  /// Names of network namespaces; empty: the one in which the program runs.
  std::string bs_namespace() const;
  std::string namespace_of(std::size_t device) const;
  std::vector<std::string> namespaces() const;  ///< all that are its own
};

/// Errors: bad_input and limit, one line that names file, key and what was expected.
Result<Scenario> parse_scenario(std::string_view text, std::string_view file);
Result<Scenario> load_scenario(const std::string& path);

/// Every key but those of [[device]] and [[event]], with default, range and meaning.
std::string print_scenario();

}  // namespace wdmoe::airlink
