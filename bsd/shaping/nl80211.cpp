#include "bsd/shaping/nl80211.h"

#include <algorithm>
#include <cstdio>

#include <linux/nl80211.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>

#include "common/check.h"

namespace wdmoe::shaping {
namespace {

constexpr double kBitsPerRateUnit = 100e3;  // NL80211_RATE_INFO_BITRATE: 100 kbit/s
constexpr double kMicro = 1e-6, kMilli = 1e-3, kKilo = 1e3;

MessagePtr command(int family, std::uint8_t number, int flags = 0) {
  MessagePtr out(made(nlmsg_alloc()));
  WDMOE_CHECK(genlmsg_put(out.get(), NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, number, 0) !=
              nullptr);  // fails only without memory
  return out;
}

void put_u32(const MessagePtr& message, int attribute, std::uint32_t value) {
  must(nla_put_u32(message.get(), attribute, value));
}

MessagePtr about(int family, std::uint8_t number, int interface, int flags = 0) {
  MessagePtr out = command(family, number, flags);
  put_u32(out, NL80211_ATTR_IFINDEX, static_cast<std::uint32_t>(interface));
  return out;
}

/// The attributes of a generic message or of a nest, by number; those beyond `Most` and those that
/// do not fit are left out.
template <int Most>
class Attributes {
 public:
  explicit Attributes(nlmsghdr* message) {
    if (genlmsg_valid_hdr(message, 0) != 0) {
      auto* header = static_cast<genlmsghdr*>(nlmsg_data(message));
      read(genlmsg_attrdata(header, 0), genlmsg_attrlen(header, 0));
    }
  }
  explicit Attributes(nlattr* nest) {
    if (nest != nullptr) read(static_cast<nlattr*>(nla_data(nest)), nla_len(nest));
  }

  nlattr* find(int number) const { return found_.at(static_cast<std::size_t>(number)); }

  /// The value, if there is one and it is long enough.
  template <class T>
  std::optional<T> get(int number) const {
    const nlattr* attribute = find(number);
    T value{};
    if (attribute == nullptr || nla_len(attribute) < static_cast<int>(sizeof value)) return {};
    nla_memcpy(&value, attribute, sizeof value);
    return value;
  }
  template <class T>
  T get_or(int number, T otherwise) const {
    return get<T>(number).value_or(otherwise);
  }

 private:
  void read(nlattr* first, int length) {
    for (nlattr* each = first; nla_ok(each, length); each = nla_next(each, &length))
      if (nla_type(each) <= Most) found_[static_cast<std::size_t>(nla_type(each))] = each;
  }
  std::array<nlattr*, Most + 1> found_{};
};
using Top = Attributes<NL80211_ATTR_MAX>;

/// Bit/s of one direction; 0: not told.
double rate_of(nlattr* nest) {
  const Attributes<NL80211_RATE_INFO_MAX> rate(nest);
  const auto narrow = rate.get_or<std::uint16_t>(NL80211_RATE_INFO_BITRATE, 0);
  return kBitsPerRateUnit * rate.get_or<std::uint32_t>(NL80211_RATE_INFO_BITRATE32, narrow);
}

bool has_feature(const nlattr* bits, unsigned feature) {
  if (bits == nullptr || nla_len(bits) <= static_cast<int>(feature / 8)) return false;
  const auto* octets = static_cast<const std::uint8_t*>(nla_data(bits));
  return (octets[feature / 8] >> (feature % 8) & 1) != 0;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Result<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress out;
  bool fine = text.size() == 17;
  for (std::size_t i = 0; fine && i < out.octets.size(); ++i) {
    const int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);
    fine = high >= 0 && low >= 0 && (i == 5 || text[3 * i + 2] == ':');
    out.octets[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  const bool group = (out.octets[0] & 1) != 0;
  if (fine && !group && !(out == MacAddress{})) return out;
  return fail(Code::bad_input, "station address '" + std::string(text.substr(0, 40)) +
                                   "': expected the address of one station, as 02:00:00:00:01:00");
}

std::string MacAddress::text() const {
  char out[18];
  std::snprintf(out, sizeof out, "%02x:%02x:%02x:%02x:%02x:%02x", octets[0], octets[1], octets[2],
                octets[3], octets[4], octets[5]);
  return out;
}

MessagePtr airtime_weight_message(int family, int interface, const MacAddress& station,
                                  std::uint16_t weight) {
  MessagePtr out = about(family, NL80211_CMD_SET_STATION, interface);
  must(nla_put(out.get(), NL80211_ATTR_MAC, static_cast<int>(station.octets.size()),
               station.octets.data()));
  must(nla_put_u16(out.get(), NL80211_ATTR_AIRTIME_WEIGHT, weight));
  return out;
}

MessagePtr transmit_queues_message(int family, std::uint32_t radio, const TransmitQueues& queues) {
  MessagePtr out = command(family, NL80211_CMD_SET_WIPHY);
  put_u32(out, NL80211_ATTR_WIPHY, radio);
  if (queues.limit_packets) put_u32(out, NL80211_ATTR_TXQ_LIMIT, *queues.limit_packets);
  if (queues.quantum_bytes) put_u32(out, NL80211_ATTR_TXQ_QUANTUM, *queues.quantum_bytes);
  return out;
}

MessagePtr power_save_message(int family, int interface, bool on) {
  MessagePtr out = about(family, NL80211_CMD_SET_POWER_SAVE, interface);
  put_u32(out, NL80211_ATTR_PS_STATE, on ? NL80211_PS_ENABLED : NL80211_PS_DISABLED);
  return out;
}

MessagePtr stations_question(int family, int interface) {
  return about(family, NL80211_CMD_GET_STATION, interface, NLM_F_DUMP);
}

MessagePtr interface_question(int family, int interface) {
  return about(family, NL80211_CMD_GET_INTERFACE, interface);
}

MessagePtr power_save_question(int family, int interface) {
  return about(family, NL80211_CMD_GET_POWER_SAVE, interface);
}

MessagePtr radio_question(int family, std::uint32_t radio) {
  // Whole answers do not fit one message; without this flag old kernels leave features out.
  MessagePtr out = command(family, NL80211_CMD_GET_WIPHY, NLM_F_DUMP);
  must(nla_put_flag(out.get(), NL80211_ATTR_SPLIT_WIPHY_DUMP));
  put_u32(out, NL80211_ATTR_WIPHY, radio);
  return out;
}

std::optional<Station> station_of(nlmsghdr* message) {
  const Top top(message);
  const auto address = top.get<std::array<std::uint8_t, 6>>(NL80211_ATTR_MAC);
  if (!address || top.find(NL80211_ATTR_STA_INFO) == nullptr) return {};
  const Attributes<NL80211_STA_INFO_MAX> info(top.find(NL80211_ATTR_STA_INFO));
  Station out;
  out.address.octets = *address;
  out.airtime_weight = info.get<std::uint16_t>(NL80211_STA_INFO_AIRTIME_WEIGHT);
  out.sent_bytes = info.get_or<std::uint64_t>(NL80211_STA_INFO_TX_BYTES64, 0);
  out.received_bytes = info.get_or<std::uint64_t>(NL80211_STA_INFO_RX_BYTES64, 0);
  radio::StationSample& s = out.sample;
  s.signal_dbm = info.get_or<std::int8_t>(NL80211_STA_INFO_SIGNAL_AVG,
                                          info.get_or<std::int8_t>(NL80211_STA_INFO_SIGNAL, 0));
  s.tx_bps = rate_of(info.find(NL80211_STA_INFO_TX_BITRATE));
  s.rx_bps = rate_of(info.find(NL80211_STA_INFO_RX_BITRATE));
  s.expected_bps = kKilo * info.get_or<std::uint32_t>(NL80211_STA_INFO_EXPECTED_THROUGHPUT, 0);
  const auto microseconds = [&](int number) {
    return kMicro * static_cast<double>(info.get_or<std::uint64_t>(number, 0));
  };
  s.airtime_tx_s = microseconds(NL80211_STA_INFO_TX_DURATION);
  s.airtime_rx_s = microseconds(NL80211_STA_INFO_RX_DURATION);
  s.retries = info.get_or<std::uint32_t>(NL80211_STA_INFO_TX_RETRIES, 0);
  s.failed = info.get_or<std::uint32_t>(NL80211_STA_INFO_TX_FAILED, 0);
  s.inactive_s = kMilli * info.get_or<std::uint32_t>(NL80211_STA_INFO_INACTIVE_TIME, 0);
  s.airtime_weight = out.airtime_weight.value_or(0);
  return out;
}

std::optional<WirelessInterface> wireless_interface_of(nlmsghdr* message) {
  const Top top(message);
  const auto radio = top.get<std::uint32_t>(NL80211_ATTR_WIPHY);
  const auto kind = top.get<std::uint32_t>(NL80211_ATTR_IFTYPE);
  if (!radio || !kind) return {};
  return WirelessInterface{*radio, *kind == NL80211_IFTYPE_AP};
}

std::optional<bool> power_save_of(nlmsghdr* message) {
  const auto state = Top(message).get<std::uint32_t>(NL80211_ATTR_PS_STATE);
  if (!state) return {};
  return *state == NL80211_PS_ENABLED;
}

void add_facts(nlmsghdr* message, RadioFacts& facts) {
  const Top top(message);
  const nlattr* features = top.find(NL80211_ATTR_EXT_FEATURES);
  facts.airtime_fairness |= has_feature(features, NL80211_EXT_FEATURE_AIRTIME_FAIRNESS);
  facts.airtime_limits |= has_feature(features, NL80211_EXT_FEATURE_AQL);
  facts.transmit_queues |= has_feature(features, NL80211_EXT_FEATURE_TXQS);
  if (const auto limit = top.get<std::uint32_t>(NL80211_ATTR_TXQ_LIMIT))
    facts.queues.limit_packets = limit;
  if (const auto quantum = top.get<std::uint32_t>(NL80211_ATTR_TXQ_QUANTUM))
    facts.queues.quantum_bytes = quantum;
}

}  // namespace wdmoe::shaping
