#include "wire/connection.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <linux/tcp.h>
#include <netdb.h>
#include <sys/socket.h>

namespace wdmoe::wire {
namespace {

template <class T>
bool get(int fd, int level, int option, T& value) {
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, option, &value, &size) == 0;
}

/// False: not a connected IP socket.
bool peer_of(int fd, sockaddr_in6& peer) {
  static_assert(sizeof(sockaddr_in6) >= sizeof(sockaddr_in));
  peer = {};
  socklen_t size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return false;
  return peer.sin6_family == AF_INET || peer.sin6_family == AF_INET6;
}

/// Zero-terminated.
using Host = std::array<char, NI_MAXHOST>;

/// Numeric, in the form in which libzmq writes addresses, too.
Host host_of(const sockaddr_in6& peer) {
  Host host{};
  const socklen_t size = peer.sin6_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  ::getnameinfo(reinterpret_cast<const sockaddr*>(&peer), size, host.data(), host.size(), nullptr,
                0, NI_NUMERICHOST);
  return host;
}

constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

}  // namespace

std::optional<Connection> Connection::find(const Source& source) {
  if (source.fd < 0 || source.address.empty()) return std::nullopt;
  int protocol = 0;
  sockaddr_in6 peer;
  if (!get(source.fd, SOL_SOCKET, SO_PROTOCOL, protocol) || protocol != IPPROTO_TCP ||
      !peer_of(source.fd, peer) || source.address != host_of(peer).data())
    return std::nullopt;
  return Connection(source.fd, peer);
}

bool Connection::alive() const {
  sockaddr_in6 peer;
  return peer_of(fd_, peer) && std::memcmp(&peer, &peer_, sizeof peer) == 0;
}

std::optional<TcpInfo> Connection::info() const {
  tcp_info in{};  // an older kernel fills less of it: the rest stays 0
  if (!alive() || !get(fd_, IPPROTO_TCP, TCP_INFO, in)) return std::nullopt;
  constexpr std::uint32_t kNoMinimum = ~std::uint32_t{0};
  TcpInfo out;
  out.delivery = BitsPerSecond(8.0 * static_cast<double>(in.tcpi_delivery_rate));
  out.app_limited = in.tcpi_delivery_rate_app_limited != 0;
  out.rtt = microseconds(in.tcpi_rtt);
  out.min_rtt = microseconds(in.tcpi_min_rtt == kNoMinimum ? 0 : in.tcpi_min_rtt);
  out.outstanding_bytes = std::uint64_t{in.tcpi_unacked} * in.tcpi_snd_mss + in.tcpi_notsent_bytes;
  out.segments = in.tcpi_data_segs_out;
  out.retransmitted = in.tcpi_total_retrans;
  out.acked_bytes = in.tcpi_bytes_acked;
  out.busy = microseconds(in.tcpi_busy_time);
  return out;
}

bool Connection::pace(BitsPerSecond rate) const {
  const std::uint64_t bytes =
      rate.value() > 0 ? std::max<std::uint64_t>(1, static_cast<std::uint64_t>(rate.value() / 8))
                       : kUnlimited;
  return alive() && ::setsockopt(fd_, SOL_SOCKET, SO_MAX_PACING_RATE, &bytes, sizeof bytes) == 0;
}

std::optional<BitsPerSecond> Connection::pacing() const {
  std::uint64_t bytes = 0;
  if (!alive() || !get(fd_, SOL_SOCKET, SO_MAX_PACING_RATE, bytes)) return std::nullopt;
  return BitsPerSecond(bytes == kUnlimited ? 0 : 8.0 * static_cast<double>(bytes));
}

bool Connection::set_priority(std::uint32_t priority) const {
  return alive() && ::setsockopt(fd_, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority) == 0;
}

std::optional<std::uint32_t> Connection::priority() const {
  std::uint32_t priority = 0;
  if (!alive() || !get(fd_, SOL_SOCKET, SO_PRIORITY, priority)) return std::nullopt;
  return priority;
}

std::string Connection::address() const {
  const std::string host = host_of(peer_).data();
  constexpr std::string_view kMapped = "::ffff:";  // IPv4 through a socket that takes both
  const bool mapped = peer_.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer_.sin6_addr);
  return mapped ? host.substr(kMapped.size()) : host;
}

}  // namespace wdmoe::wire
