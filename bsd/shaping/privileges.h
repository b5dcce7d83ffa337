#pragma once
// What this process may do to the network.

namespace wdmoe::shaping {

/// CAP_NET_ADMIN is in the effective set: interfaces of this network namespace can be changed
/// (unless the namespace belongs to another user namespace; then the kernel still refuses).
bool may_administer_network();

}  // namespace wdmoe::shaping
