#pragma once
// What rtnetlink knows of interfaces, their queueing disciplines and HTB classes, and of
// neighbours; the one place that reads libnl-route's objects.  Needs no privilege.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/shaping/netlink.h"
#include "common/result.h"

namespace wdmoe::shaping {

/// 1 to 15 characters, none of them '/', ':', white space or control, and not "." or ".." (the
/// kernel's rule, and no more letters than ASCII).  bad_input names the name.
Result<void> check_interface_name(std::string_view name);

/// A network interface of this namespace.
struct Interface {
  std::string name;
  int index = 0;
  bool up = false;
};

/// A queueing discipline as the kernel holds it.
struct Qdisc {
  std::string kind;
  std::uint32_t handle = 0;  ///< 0: the kernel's own default, which nobody asked for
  std::uint32_t parent = 0;  ///< TC_H_ROOT: the root of its interface
};

/// An HTB class as the kernel holds it, with what it has sent.
struct HtbClass {
  std::uint32_t handle = 0, parent = 0;
  std::uint64_t rate_bps = 0, ceil_bps = 0;  ///< bit/s on the wire
  std::uint64_t sent_bytes = 0, sent_packets = 0, drops = 0;
  std::uint32_t backlog_bytes = 0;
};

class RouteSocket {
 public:
  static Result<RouteSocket> open();

  /// not_found, or bad_input for a name that no interface can have.
  Result<Interface> find(std::string_view name);

  Result<void> transact(Batch& batch) { return netlink_.transact(batch); }

  /// Every queueing discipline of one interface.
  Result<std::vector<Qdisc>> qdiscs(const Interface& interface);
  /// Every HTB class of one interface.
  Result<std::vector<HtbClass>> classes(const Interface& interface);
  /// Numeric address -> link address ("02:00:00:00:01:00") of those heard of on one interface.
  Result<std::map<std::string, std::string>> neighbours(const Interface& interface);

 private:
  explicit RouteSocket(NetlinkSocket netlink) : netlink_(std::move(netlink)) {}

  NetlinkSocket netlink_;
};

}  // namespace wdmoe::shaping
