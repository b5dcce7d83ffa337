#pragma once
// The TCP connection below a ZeroMQ one: what the kernel knows of it, and how it sends there.
// libzmq owns the descriptor and may close it at any moment, and the number may come back as
// another socket; so every use first asks the kernel whether it still leads to the same peer.
// What could slip in between those two calls is a setting on a socket that just opened, which
// the next message over it puts right.  Nothing here allocates; a call costs a microsecond or two.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>

#include "common/clock.h"
#include "common/units.h"

namespace wdmoe::wire {

/// Where a message came from, as libzmq tells.
struct Source {
  int fd = -1;          ///< of the socket below; -1: unknown
  std::string address;  ///< numeric IP address of the peer; empty: none (ipc://, inproc://)
};

/// TCP_INFO, in the project's units.  Counts since the connection stands.
struct TcpInfo {
  BitsPerSecond delivery;    ///< of the last stretch that was acknowledged; 0: none yet
  bool app_limited = false;  ///< `delivery` is what there was to send, not what the path carries
  microseconds rtt{0}, min_rtt{0};
  std::uint64_t outstanding_bytes = 0;            ///< not acknowledged, or not yet sent
  std::uint64_t segments = 0, retransmitted = 0;  ///< with data; of those
  std::uint64_t acked_bytes = 0;
  microseconds busy{0};  ///< while something was under way, unacknowledged
};

class Connection {
 public:
  /// None unless `source` is a connected TCP socket whose peer has the address it names.
  static std::optional<Connection> find(const Source& source);

  /// Whether the descriptor still leads to the same peer address and port.
  bool alive() const;
  bool is(const Source& source) const { return source.fd == fd_ && alive(); }

  std::optional<TcpInfo> info() const;  ///< none: it is gone

  /// SO_MAX_PACING_RATE: how fast TCP sends, in payload and headers; 0: as fast as it can.  Needs
  /// no privilege and no qdisc.  False: gone, or refused by the kernel.
  bool pace(BitsPerSecond rate) const;
  std::optional<BitsPerSecond> pacing() const;  ///< read back; 0: not limited

  /// SO_PRIORITY: the class that a packet gets from queueing disciplines (an HTB classid).  Beyond
  /// 6 it needs CAP_NET_ADMIN.  False: gone or denied.  IP_TOS resets it: set that first.
  bool set_priority(std::uint32_t priority) const;
  std::optional<std::uint32_t> priority() const;

  std::string address() const;  ///< of the peer, numeric, without port

 private:
  Connection(int fd, const sockaddr_in6& peer) : fd_(fd), peer_(peer) {}
  int fd_;
  sockaddr_in6 peer_;  // or a sockaddr_in, the rest zero
};

}  // namespace wdmoe::wire
