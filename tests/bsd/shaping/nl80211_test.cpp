#include "bsd/shaping/nl80211.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>
#include <netlink/msg.h>

#include "bsd/shaping/wifi_weights.h"

using namespace wdmoe;
using namespace wdmoe::shaping;

namespace {

// Written by hand from linux/nl80211.h's numbers, which are ABI, and netlink(7): lengths are of
// header and value, values are padded to four bytes, all little-endian (as on every machine that
// the product is built for).  20 numbers after the type: flags, sequence, port.
using Octets = std::vector<std::uint8_t>;

constexpr int kFamily = 0x1c;

Octets bytes_of(const MessagePtr& message) {
  const nlmsghdr* header = nlmsg_hdr(message.get());
  const auto* first = reinterpret_cast<const std::uint8_t*>(header);
  return {first, first + header->nlmsg_len};
}

// An access point's answer about one station: NL80211_CMD_NEW_STATION (19).
const Octets kStation = {
    0x9c, 0, 0,  0,    0x1c, 0,    2,    0, 0x05, 0, 0, 0,
    0x07, 0, 0,  0,    19,   1,    0,    0,                 // genlmsghdr
    8,    0, 3,  0,    5,    0,    0,    0,                 // IFINDEX 5
    10,   0, 6,  0,    0x02, 0,    0,    0, 1,    0, 0, 0,  // MAC
    0x74, 0, 21, 0x80,                                      // STA_INFO, nested
    8,    0, 1,  0,    0xdc, 0x05, 0,    0,                 // INACTIVE_TIME 1500 ms
    5,    0, 7,  0,    0xc4, 0,    0,    0,                 // SIGNAL -60
    5,    0, 13, 0,    0xc6, 0,    0,    0,                 // SIGNAL_AVG -58
    20,   0, 8,  0x80, 6,    0,    1,    0, 0x41, 0, 0, 0,  // TX_BITRATE 6.5 …
    8,    0, 5,  0,    0x41, 0,    0,    0,                 // … Mbit/s, both ways
    12,   0, 14, 0x80, 6,    0,    1,    0, 0x1e, 0, 0, 0,  // RX_BITRATE 3 Mbit/s
    8,    0, 11, 0,    9,    0,    0,    0,                 // TX_RETRIES 9
    8,    0, 12, 0,    2,    0,    0,    0,                 // TX_FAILED 2
    8,    0, 27, 0,    0x40, 0x9c, 0,    0,                 // EXPECTED 40000 kbit/s
    12,   0, 39, 0,    0x40, 0x42, 0x0f, 0, 0,    0, 0, 0,  // TX_DURATION 1 s
    12,   0, 24, 0,    0x00, 0x10, 0,    0, 0,    0, 0, 0,  // TX_BYTES64 4096
    6,    0, 40, 0,    0x80, 1,    0,    0,                 // AIRTIME_WEIGHT 384
};

nlmsghdr* header_of(Octets& bytes) {
  return reinterpret_cast<nlmsghdr*>(bytes.data());
}

}  // namespace

TEST_CASE("nl80211: the airtime message is what the specification says, byte for byte") {
  const auto station = MacAddress::parse("02:00:00:00:01:00");
  REQUIRE(station);
  const Octets expected = {
      48, 0, 0,    0,    0x1c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  // nlmsghdr, numbered when sent
      18, 0, 0,    0,                                            // SET_STATION
      8,  0, 3,    0,    5,    0, 0, 0,                          // IFINDEX 5
      10, 0, 6,    0,    0x02, 0, 0, 0, 1, 0, 0, 0,              // MAC, two bytes of padding
      6,  0, 0x12, 0x01, 0x80, 1, 0, 0,                          // AIRTIME_WEIGHT (274) 384
  };
  CHECK(bytes_of(airtime_weight_message(kFamily, 5, *station, 384)) == expected);
}

TEST_CASE("nl80211: the other messages, byte for byte") {
  CHECK(bytes_of(power_save_message(kFamily, 3, false)) ==
        Octets{36, 0, 0, 0, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 61, 0,
               0,  0, 8, 0, 3,    0, 3, 0, 0, 0, 8, 0, 93, 0, 0, 0, 0,  0});
  CHECK(bytes_of(transmit_queues_message(kFamily, 1, {1024, 600})) ==
        Octets{44, 0, 0, 0, 0x1c, 0, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 2,    0, 0,    0, 8, 0,
               1,  0, 1, 0, 0,    0, 8, 0, 0x0a, 1, 0, 4, 0, 0, 8, 0, 0x0c, 1, 0x58, 2, 0, 0});
  CHECK(bytes_of(transmit_queues_message(kFamily, 1, {{}, 600})).size() == 36);
}

TEST_CASE("nl80211: a station's answer is read") {
  Octets bytes = kStation;
  REQUIRE(bytes.size() == 0x9c);
  const auto station = station_of(header_of(bytes));
  REQUIRE(station);
  CHECK(station->address.text() == "02:00:00:00:01:00");
  CHECK(station->sample.signal_dbm == -58);
  CHECK(station->sample.tx_bps == doctest::Approx(6.5e6));
  CHECK(station->sample.rx_bps == doctest::Approx(3e6));
  CHECK(station->sample.expected_bps == doctest::Approx(40e6));
  CHECK(station->sample.airtime_tx_s == doctest::Approx(1));
  CHECK(station->sample.retries == 9);
  CHECK(station->sample.failed == 2);
  CHECK(station->sample.inactive_s == doctest::Approx(1.5));
  CHECK(station->airtime_weight == 384);
  CHECK(station->sent_bytes == 4096);
  CHECK(station->received_bytes == 0);  // not told
}

TEST_CASE("nl80211: cut or altered answers never read past their end") {
  for (std::size_t length = sizeof(nlmsghdr); length < kStation.size(); ++length) {
    // In memory of its own size, so that a sanitizer sees a step beyond it.
    Octets cut(kStation.begin(), kStation.begin() + static_cast<std::ptrdiff_t>(length));
    header_of(cut)->nlmsg_len = static_cast<std::uint32_t>(length);
    (void)station_of(header_of(cut));
    RadioFacts facts;
    add_facts(header_of(cut), facts);
    (void)wireless_interface_of(header_of(cut));
    (void)power_save_of(header_of(cut));
  }
  std::mt19937 random(7);
  for (int trial = 0; trial < 20'000; ++trial) {
    Octets altered = kStation;
    for (int flips = 0; flips < 3; ++flips)
      altered[sizeof(nlmsghdr) + random() % (altered.size() - sizeof(nlmsghdr))] ^=
          static_cast<std::uint8_t>(1u << random() % 8);
    (void)station_of(header_of(altered));
    RadioFacts facts;
    add_facts(header_of(altered), facts);
  }
}

TEST_CASE("nl80211: features and queues of a radio come in parts") {
  // EXT_FEATURES (217): bits 28 (TXQS), 33 (airtime fairness), 40 (AQL).
  Octets first = {40, 0, 0,    0, 0x1c, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0,    0, 3, 1,    0, 0,
                  10, 0, 0xd9, 0, 0,    0, 0, 0x10, 2, 1, 0, 0, 8, 0, 0x0a, 1, 0, 0x20, 0, 0};
  Octets second = {28, 0, 0, 0, 0x1c, 0, 0, 0, 0,    0, 0,    0, 0, 0,
                   0,  0, 3, 1, 0,    0, 8, 0, 0x0c, 1, 0x2c, 1, 0, 0};
  RadioFacts facts;
  add_facts(header_of(first), facts);
  add_facts(header_of(second), facts);
  CHECK(facts.transmit_queues);
  CHECK(facts.airtime_fairness);
  CHECK(facts.airtime_limits);
  CHECK(facts.queues.limit_packets == 8192);
  CHECK(facts.queues.quantum_bytes == 300);
  first[28] = 1;  // other bits of the same octets
  RadioFacts none;
  add_facts(header_of(first), none);
  CHECK_FALSE(none.airtime_fairness);
}

TEST_CASE("station addresses: six octets of one station") {
  for (const char* good : {"02:00:00:00:01:00", "Ac:De:48:00:11:22"})
    CHECK(MacAddress::parse(good));
  for (const char* bad : {"", "02:00:00:00:01", "02:00:00:00:01:00:", "02-00-00-00-01-00",
                          "02:00:00:00:01:0g", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff",
                          "01:00:5e:00:00:01", "+2:00:00:00:01:00", "0x:00:00:00:01:00"})
    CHECK_FALSE(MacAddress::parse(bad));
}

TEST_CASE("airtime weights: in proportion, average 256, within the kernel's bounds") {
  const auto plan_of = [](std::vector<double> shares) {
    Plan plan;
    for (const double airtime : shares) {
      Share share;
      share.slot = 10 + plan.shares.size();
      share.agent = "a" + std::to_string(plan.shares.size());
      share.airtime = airtime;
      plan.shares.push_back(share);
    }
    return plan;
  };
  const auto two = airtime_weights(plan_of({0.2, 0.6}));
  REQUIRE(two);
  CHECK(two->at(10) == 128);
  CHECK(two->at(11) == 384);
  const auto idle = airtime_weights(plan_of({0, 0}));
  CHECK(idle->at(10) == kDefaultAirtimeWeight);
  std::vector<double> many(1000, 0);
  many[3] = 1;
  const auto lopsided = airtime_weights(plan_of(many));
  CHECK(lopsided->at(13) == 65535);
  CHECK(lopsided->at(14) == 1);
  for (const double bad : {-0.1, 1.1, std::nan(""), std::numeric_limits<double>::infinity()}) {
    const auto refused = airtime_weights(plan_of({0.5, bad}));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().text.find("a1") != std::string::npos);
  }
}
