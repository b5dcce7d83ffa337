#pragma once
// The wifi actuator, for a base station that is the access point: airtime weights of stations
// (mac80211 shares the air by them), bounds of the stack's queues, power save off.  Rates are not
// its matter.  Lives on the io thread.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "bsd/shaping/actuator.h"
#include "bsd/shaping/nl80211_socket.h"
#include "bsd/shaping/ownership.h"
#include "bsd/shaping/route.h"

namespace wdmoe::shaping {

struct WifiOptions {
  std::string interface;                  ///< of the access point
  std::filesystem::path state_directory;  ///< for the ownership record
  TransmitQueues queues;                  ///< absent: left as they are
};

class Wifi final : public Actuator {
 public:
  /// Claims the interface and puts back what a killed wdmoe changed; changes nothing yet.
  /// not_found, bad_input: the interface; unsupported: no Wi-Fi, or not an access point; denied: no
  /// CAP_NET_ADMIN; busy: another wdmoe has it.
  static Result<std::unique_ptr<Wifi>> open(const WifiOptions& options);
  ~Wifi() override { (void)restore(); }
  Wifi(const Wifi&) = delete;
  Wifi& operator=(const Wifi&) = delete;

  std::string_view name() const override { return "wifi"; }
  /// Where the driver has no airtime weights, the rest is in force and health() says so.
  Result<void> apply(const Plan& plan) override;
  /// Also what nl80211 tells of every agent's station.
  Result<void> observe(std::vector<Observed>& out) override;
  Health health() const override;
  Result<void> restore() override;

 private:
  struct Agent {
    std::string address;  ///< numeric, of its connection
    std::uint16_t weight = kDefaultAirtimeWeight;
    std::optional<MacAddress> station;
  };

  Wifi(WifiOptions options, RouteSocket route, Nl80211Socket nl80211, Interface interface,
       WirelessInterface wireless, Claim claim);
  Result<void> prepare();
  Result<void> weigh();
  Result<void> remember(const MacAddress& station);

  WifiOptions options_;
  RouteSocket route_;
  Nl80211Socket nl80211_;
  Interface interface_;
  WirelessInterface wireless_;
  Records records_;
  Claim claim_;
  std::optional<Record> record_;                        // present: something of ours is in force
  bool weights_ = true;                                 // the driver has them, as far as is known
  std::map<std::size_t, Agent> agents_;                 // by slot
  std::unordered_map<std::string, std::uint16_t> set_;  // station -> weight in force
  std::string fault_;
};

/// Puts back what a killed wdmoe changed on a Wi-Fi interface; see reset_tc().
Result<std::optional<std::string>> reset_wifi(const std::string& interface, const Records& records);

}  // namespace wdmoe::shaping
