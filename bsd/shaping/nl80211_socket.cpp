#include "bsd/shaping/nl80211_socket.h"

#include <linux/netlink.h>
#include <linux/nl80211.h>
#include <netlink/genl/ctrl.h>

namespace wdmoe::shaping {
namespace {

constexpr std::size_t kMostStations = 4'096;  // an access point has 2,007 association numbers

}  // namespace

Result<Nl80211Socket> Nl80211Socket::open() {
  auto netlink = NetlinkSocket::open(NETLINK_GENERIC);
  if (!netlink) return tl::unexpected<Error>(netlink.error());
  const int family = genl_ctrl_resolve(netlink->get(), NL80211_GENL_NAME);
  if (family < 0) return fail(Code::unsupported, "this kernel has no Wi-Fi (nl80211)");
  return Nl80211Socket(std::move(*netlink), family);
}

Result<WirelessInterface> Nl80211Socket::describe(const Interface& interface) {
  std::optional<WirelessInterface> out;
  const auto asked =
      netlink_.ask(interface_question(family_, interface.index), "wifi: " + interface.name,
                   [&](nlmsghdr* message) { out = wireless_interface_of(message); });
  if (out) return *out;
  if (!asked && asked.error().code != Code::not_found && asked.error().code != Code::bad_input)
    return tl::unexpected<Error>(asked.error());
  return fail(Code::unsupported, "wifi: " + interface.name + " is no Wi-Fi interface");
}

Result<RadioFacts> Nl80211Socket::facts(std::uint32_t radio) {
  RadioFacts out;
  WDMOE_TRY(netlink_.ask(radio_question(family_, radio), "wifi: phy" + std::to_string(radio),
                         [&](nlmsghdr* message) { add_facts(message, out); }));
  return out;
}

Result<std::optional<bool>> Nl80211Socket::power_save(const Interface& interface) {
  std::optional<bool> out;
  const auto asked = netlink_.ask(power_save_question(family_, interface.index),
                                  "wifi: power save of " + interface.name,
                                  [&](nlmsghdr* message) { out = power_save_of(message); });
  if (!asked && asked.error().code != Code::unsupported)
    return tl::unexpected<Error>(asked.error());
  return out;
}

Result<std::vector<Station>> Nl80211Socket::stations(const Interface& interface) {
  std::vector<Station> out;
  WDMOE_TRY(netlink_.ask(stations_question(family_, interface.index),
                         "wifi: stations of " + interface.name, [&](nlmsghdr* message) {
                           auto station = station_of(message);
                           if (station && out.size() < kMostStations)
                             out.push_back(std::move(*station));
                         }));
  return out;
}

}  // namespace wdmoe::shaping
