#include "bsd/shaping/privileges.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace wdmoe::shaping {

bool may_administer_network() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return false;
  return (sets[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN)) != 0;
}

Result<void> require_network_admin(const std::string& actuator, const std::string& what) {
  if (may_administer_network()) return {};
  return fail(Code::denied, actuator + ": changing " + what +
                                " needs CAP_NET_ADMIN: run as root, or give the unit "
                                "AmbientCapabilities=CAP_NET_ADMIN (docs/radio.md), or leave the " +
                                actuator + " actuator out");
}

}  // namespace wdmoe::shaping
