#include "bsd/shaping/route.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/route/class.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/htb.h>
#include <netlink/route/tc.h>

namespace wdmoe::shaping {
namespace {

struct FreeCache {
  void operator()(nl_cache* cache) const { nl_cache_free(cache); }
};
using Cache = std::unique_ptr<nl_cache, FreeCache>;

Interface interface_of(rtnl_link* link) {
  const char* name = rtnl_link_get_name(link);
  return {name == nullptr ? "" : name, rtnl_link_get_ifindex(link),
          (rtnl_link_get_flags(link) & IFF_UP) != 0};
}

HtbClass class_from(nl_object* object) {
  auto* found = reinterpret_cast<rtnl_class*>(object);
  rtnl_tc* tc = TC_CAST(found);
  HtbClass out;
  out.handle = rtnl_tc_get_handle(tc);
  out.parent = rtnl_tc_get_parent(tc);
  out.rate_bps = std::uint64_t{rtnl_htb_get_rate(found)} * 8;
  out.ceil_bps = std::uint64_t{rtnl_htb_get_ceil(found)} * 8;
  out.sent_bytes = rtnl_tc_get_stat(tc, RTNL_TC_BYTES);
  out.sent_packets = rtnl_tc_get_stat(tc, RTNL_TC_PACKETS);
  out.drops = rtnl_tc_get_stat(tc, RTNL_TC_DROPS);
  out.backlog_bytes = static_cast<std::uint32_t>(rtnl_tc_get_stat(tc, RTNL_TC_BACKLOG));
  return out;
}

}  // namespace

Result<void> check_interface_name(std::string_view name) {
  const bool letters = std::all_of(
      name.begin(), name.end(), [](char c) { return c > ' ' && c < 127 && c != '/' && c != ':'; });
  if (!name.empty() && name.size() < IFNAMSIZ && letters && name != "." && name != "..") return {};
  return fail(Code::bad_input, "interface '" + std::string(name.substr(0, 40)) +
                                   "': expected 1 to 15 printable characters without '/' and ':'");
}

Result<RouteSocket> RouteSocket::open() {
  auto netlink = NetlinkSocket::open(NETLINK_ROUTE);
  if (!netlink) return tl::unexpected<Error>(netlink.error());
  return RouteSocket(std::move(*netlink));
}

Result<Interface> RouteSocket::find(std::string_view name) {
  WDMOE_TRY(check_interface_name(name));
  const std::string wanted(name);
  rtnl_link* link = nullptr;
  const int failed = rtnl_link_get_kernel(netlink_.get(), 0, wanted.c_str(), &link);
  if (failed < 0 || link == nullptr)
    return fail(Code::not_found,
                "interface '" + wanted + "' does not exist here; `ip link` lists those there are");
  Interface out = interface_of(link);
  rtnl_link_put(link);
  return out;
}

Result<std::vector<Qdisc>> RouteSocket::qdiscs(const Interface& interface) {
  nl_cache* raw = nullptr;
  if (const int failed = rtnl_qdisc_alloc_cache(netlink_.get(), &raw); failed < 0)
    return tl::unexpected<Error>(from_libnl("queueing disciplines of " + interface.name, failed));
  const Cache cache(raw);
  std::vector<Qdisc> out;
  for (auto* object = nl_cache_get_first(raw); object != nullptr;
       object = nl_cache_get_next(object)) {
    rtnl_tc* tc = TC_CAST(object);
    if (rtnl_tc_get_ifindex(tc) != interface.index) continue;
    out.push_back({rtnl_tc_get_kind(tc), rtnl_tc_get_handle(tc), rtnl_tc_get_parent(tc)});
  }
  return out;
}

Result<std::vector<HtbClass>> RouteSocket::classes(const Interface& interface) {
  nl_cache* raw = nullptr;
  if (const int failed = rtnl_class_alloc_cache(netlink_.get(), interface.index, &raw); failed < 0)
    return tl::unexpected<Error>(from_libnl("classes of " + interface.name, failed));
  const Cache cache(raw);
  std::vector<HtbClass> out;
  for (auto* object = nl_cache_get_first(raw); object != nullptr;
       object = nl_cache_get_next(object))
    if (std::strcmp(rtnl_tc_get_kind(TC_CAST(object)), "htb") == 0)
      out.push_back(class_from(object));
  return out;
}

Result<std::map<std::string, std::string>> RouteSocket::neighbours(const Interface& interface) {
  nl_cache* raw = nullptr;
  if (const int failed = rtnl_neigh_alloc_cache(netlink_.get(), &raw); failed < 0)
    return tl::unexpected<Error>(from_libnl("neighbours on " + interface.name, failed));
  const Cache cache(raw);
  std::map<std::string, std::string> out;
  for (auto* object = nl_cache_get_first(raw); object != nullptr;
       object = nl_cache_get_next(object)) {
    auto* neighbour = reinterpret_cast<rtnl_neigh*>(object);
    const nl_addr* address = rtnl_neigh_get_dst(neighbour);
    const nl_addr* link = rtnl_neigh_get_lladdr(neighbour);
    if (rtnl_neigh_get_ifindex(neighbour) != interface.index || !address || !link) continue;
    std::array<char, 64> left{}, right{};
    out[nl_addr2str(address, left.data(), left.size())] =
        nl_addr2str(link, right.data(), right.size());
  }
  return out;
}

}  // namespace wdmoe::shaping
