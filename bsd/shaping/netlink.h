#pragma once
// One rtnetlink socket: batches of traffic-control messages, each acknowledged, and dumps of what
// the kernel holds.  The one place that talks to libnl-route; C++ types on the outside.
// Not shared between threads.  Needs CAP_NET_ADMIN to change anything, nothing to look.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/span.h"

struct iovec;
struct nl_msg;
struct nl_sock;

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

/// Messages that go to the kernel together.
class Batch {
 public:
  /// Takes the message; `what` names it in an error ("class 5744:10 of eth0").
  void add(nl_msg* message, std::string what);
  bool empty() const { return messages_.empty(); }

 private:
  friend class RouteSocket;
  struct Free {
    void operator()(nl_msg* message) const;
  };
  struct Message {
    std::unique_ptr<nl_msg, Free> message;
    std::string what;
  };
  std::vector<Message> messages_;
};

class RouteSocket {
 public:
  static Result<RouteSocket> open();

  /// not_found, or bad_input for a name that no interface can have.
  Result<Interface> find(std::string_view name);
  Result<std::vector<Interface>> interfaces();

  /// Sends the batch and waits for every acknowledgement; up to 64 classes go in one system call.
  /// All messages are tried; the first refusal is returned: denied (CAP_NET_ADMIN), unsupported
  /// (the kernel lacks the discipline), not_found (the object is gone), else io.
  Result<void> transact(Batch& batch);

  /// Every queueing discipline of one interface.
  Result<std::vector<Qdisc>> qdiscs(const Interface& interface);
  /// Every HTB class of one interface.
  Result<std::vector<HtbClass>> classes(const Interface& interface);

 private:
  struct Close {
    void operator()(nl_sock* socket) const;
  };
  explicit RouteSocket(nl_sock* socket) : socket_(socket) {}
  Result<void> exchange(std::vector<iovec>& parts, Span<const Batch::Message> sent);
  Result<void> await(Span<const Batch::Message> sent);

  std::unique_ptr<nl_sock, Close> socket_;
  std::vector<std::byte> answer_;  // what recv() fills
};

}  // namespace wdmoe::shaping
