#pragma once
// Asks the kernel's nl80211, and tells it.  One socket; not shared between threads.

#include <optional>
#include <string>
#include <vector>

#include "bsd/shaping/netlink.h"
#include "bsd/shaping/nl80211.h"
#include "bsd/shaping/route.h"

namespace wdmoe::shaping {

class Nl80211Socket {
 public:
  /// unsupported: this kernel has no Wi-Fi (nl80211 is not there).
  static Result<Nl80211Socket> open();

  /// unsupported if it is no Wi-Fi interface.
  Result<WirelessInterface> describe(const Interface& interface);
  Result<RadioFacts> facts(std::uint32_t radio);
  /// Nothing where the driver or the interface's kind (an access point never sleeps) has none.
  Result<std::optional<bool>> power_save(const Interface& interface);
  Result<std::vector<Station>> stations(const Interface& interface);

  int family() const { return family_; }
  Result<void> transact(Batch& batch) { return netlink_.transact(batch); }

 private:
  Nl80211Socket(NetlinkSocket netlink, int family)
      : netlink_(std::move(netlink)), family_(family) {}

  NetlinkSocket netlink_;
  int family_;
};

}  // namespace wdmoe::shaping
