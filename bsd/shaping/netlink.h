#pragma once
// A netlink socket of any family: batches of messages, each acknowledged, and questions whose
// answers come as messages.  Not shared between threads.  route.h and nl80211_socket.h speak
// through it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/span.h"

struct iovec;
struct nl_msg;
struct nl_sock;
struct nlmsghdr;

namespace wdmoe::shaping {

struct FreeMessage {
  void operator()(nl_msg* message) const;
};
using MessagePtr = std::unique_ptr<nl_msg, FreeMessage>;

/// libnl builds messages without failing but for memory; both checks abort then.
nl_msg* made(nl_msg* message);
void must(int libnl_code);

/// Messages that go to the kernel together.
class Batch {
 public:
  /// `what` names the message in an error ("class 5744:10 of eth0").
  void add(MessagePtr message, std::string what);
  bool empty() const { return messages_.empty(); }

 private:
  friend class NetlinkSocket;
  struct Message {
    MessagePtr message;
    std::string what;
  };
  std::vector<Message> messages_;
};

class NetlinkSocket {
 public:
  /// NETLINK_ROUTE, NETLINK_GENERIC.
  static Result<NetlinkSocket> open(int protocol);

  /// Sends the batch and waits for every acknowledgement; up to 64 classes go in one system call.
  /// All messages are tried; the first refusal is returned: denied (CAP_NET_ADMIN), unsupported,
  /// not_found (the object, or what the kernel should know, is not there), bad_input, else io.
  Result<void> transact(Batch& batch);

  /// Sends one question and hands every message of the answer to `each`.
  Result<void> ask(MessagePtr question, const std::string& what,
                   const std::function<void(nlmsghdr*)>& each);

  /// For libnl's own functions.
  nl_sock* get() const { return socket_.get(); }

 private:
  struct Close {
    void operator()(nl_sock* socket) const;
  };
  explicit NetlinkSocket(nl_sock* socket) : socket_(socket) {}
  Result<void> exchange(std::vector<iovec>& parts, Span<const Batch::Message> sent);
  Result<void> await(Span<const Batch::Message> sent);
  Result<std::size_t> receive();

  std::unique_ptr<nl_sock, Close> socket_;
  std::vector<std::byte> answer_;  // what receive() fills
};

/// An error of libnl's, or of the kernel through it.
Error from_libnl(const std::string& doing, int code);

}  // namespace wdmoe::shaping
