#pragma once
// What this process may do to the network.

#include <string>

#include "common/result.h"

namespace wdmoe::shaping {

/// CAP_NET_ADMIN is in the effective set: interfaces of this network namespace can be changed
/// (unless the namespace belongs to another user namespace; then the kernel still refuses).
bool may_administer_network();

/// denied, unless may_administer_network(): `actuator` cannot change `what`.
Result<void> require_network_admin(const std::string& actuator, const std::string& what);

}  // namespace wdmoe::shaping
