#pragma once
// A TUN device: what programs in its namespace send comes out of read(), what write() puts in they
// receive.  IP packets, no other framing.  The device is gone when this object is.

#include <string>

#include "common/fd.h"
#include "common/result.h"

namespace wdmoe::airlink {

constexpr const char* kInterface = "air0";

struct TunSpec {
  std::string network_namespace;  ///< empty: this one
  std::string address;            ///< IPv4, /24
  std::size_t mtu = 1500;
};

/// A non-blocking descriptor of interface kInterface, up, with its address; loopback is up, too.
/// Errors: denied, unavailable (no /dev/net/tun), io.
Result<OwnedFd> open_tun(const TunSpec& spec);

}  // namespace wdmoe::airlink
