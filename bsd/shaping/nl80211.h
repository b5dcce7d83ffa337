#pragma once
// nl80211's messages for the wifi actuator: made of values, and read into values.  Pure; `family`
// is the number that the kernel gave nl80211 (nl80211_socket.h asks for it).

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bsd/radio/link_state.h"
#include "bsd/shaping/netlink.h"

namespace wdmoe::shaping {

/// A station's address.
struct MacAddress {
  std::array<std::uint8_t, 6> octets{};

  /// "02:00:00:00:01:00", six pairs of hexadecimal digits, not a group address and not all zero;
  /// bad_input otherwise.
  static Result<MacAddress> parse(std::string_view text);
  std::string text() const;
  bool operator==(const MacAddress& other) const { return octets == other.octets; }
};

/// mac80211's weight of a station that nobody has set.
constexpr std::uint16_t kDefaultAirtimeWeight = 256;

/// Bounds of the stack's own queues (one set for a radio); absent: left as it is, or not known.
struct TransmitQueues {
  std::optional<std::uint32_t> limit_packets, quantum_bytes;
};

/// NL80211_CMD_SET_STATION with NL80211_ATTR_AIRTIME_WEIGHT.
MessagePtr airtime_weight_message(int family, int interface, const MacAddress& station,
                                  std::uint16_t weight);
/// NL80211_CMD_SET_WIPHY with NL80211_ATTR_TXQ_LIMIT and _QUANTUM.
MessagePtr transmit_queues_message(int family, std::uint32_t radio, const TransmitQueues& queues);
/// NL80211_CMD_SET_POWER_SAVE.
MessagePtr power_save_message(int family, int interface, bool on);

/// Questions: of every station of an interface; of one interface's kind and radio; of its power
/// save; of one radio (in parts).
MessagePtr stations_question(int family, int interface);
MessagePtr interface_question(int family, int interface);
MessagePtr power_save_question(int family, int interface);
MessagePtr radio_question(int family, std::uint32_t radio);

/// One station, as its access point sees it.
struct Station {
  MacAddress address;
  radio::StationSample sample;  ///< at_s is left to the caller
  std::optional<std::uint16_t> airtime_weight;
  std::uint64_t sent_bytes = 0, received_bytes = 0;
};

struct WirelessInterface {
  std::uint32_t radio = 0;  ///< its number (phy0: 0)
  bool access_point = false;
};

/// What a radio tells of itself; merged from the parts of its answer.
struct RadioFacts {
  bool airtime_fairness = false;  ///< stations can have airtime weights
  bool airtime_limits = false;    ///< AQL
  bool transmit_queues = false;   ///< TXQS
  TransmitQueues queues;          ///< as set now
};

/// Readers of one message of an answer; nothing if it is not what was asked for.
std::optional<Station> station_of(nlmsghdr* message);
std::optional<WirelessInterface> wireless_interface_of(nlmsghdr* message);
std::optional<bool> power_save_of(nlmsghdr* message);
void add_facts(nlmsghdr* message, RadioFacts& facts);

}  // namespace wdmoe::shaping
