#include "sim/airlink/tun.h"

#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "sim/airlink/namespaces.h"

namespace wdmoe::airlink {
namespace {

ifreq request_for(const char* interface) {
  ifreq request{};
  std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  return request;
}

sockaddr ipv4(const char* text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, text, &address.sin_addr);
  sockaddr generic{};
  std::memcpy(&generic, &address, sizeof address);
  return generic;
}

bool bring_up(int socket, const char* interface) {
  ifreq request = request_for(interface);
  if (ioctl(socket, SIOCGIFFLAGS, &request) != 0) return false;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
  return ioctl(socket, SIOCSIFFLAGS, &request) == 0;
}

bool configure(int socket, const TunSpec& spec) {
  ifreq request = request_for(kInterface);
  request.ifr_mtu = static_cast<int>(spec.mtu);
  if (ioctl(socket, SIOCSIFMTU, &request) != 0) return false;
  request.ifr_addr = ipv4(spec.address.c_str());
  if (ioctl(socket, SIOCSIFADDR, &request) != 0) return false;
  request.ifr_netmask = ipv4("255.255.255.0");
  if (ioctl(socket, SIOCSIFNETMASK, &request) != 0) return false;
  return bring_up(socket, kInterface) && bring_up(socket, "lo");
}

}  // namespace

Result<OwnedFd> open_tun(const TunSpec& spec) {
  const auto visit = Visit::to(spec.network_namespace);
  if (!visit) return tl::unexpected<Error>(visit.error());
  OwnedFd tun(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.valid() && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
    return fail(Code::unavailable, "/dev/net/tun is missing: load the kernel's tun module");
  if (!tun.valid()) return refused("/dev/net/tun");
  ifreq request = request_for(kInterface);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  const std::string where = std::string(kInterface) + " for " + spec.address;
  if (ioctl(tun.get(), TUNSETIFF, &request) != 0) return refused(where);
  const OwnedFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid() || !configure(socket.get(), spec)) return refused(where);
  return tun;
}

}  // namespace wdmoe::airlink
