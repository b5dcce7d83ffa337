#include "bsd/shaping/netlink.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include <linux/netlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "common/check.h"

namespace wdmoe::shaping {
namespace {

constexpr std::size_t kAnswerBytes = 64 * 1024;  // twice the largest page of a dump
// Of the socket, each way: what every kernel grants without privilege.  It takes a system call of
// 64 classes (2.2 KiB each, libnl adds the rate tables that old kernels wanted) and the answers.
constexpr int kSocketBytes = 212'992;
constexpr std::size_t kCallBytes = 160 * 1024, kCallMessages = 256;
constexpr timeval kPatience{2, 0};  // the kernel answers at once; this only bounds a surprise

Code code_of(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return Code::denied;
    case EOPNOTSUPP:
      return Code::unsupported;
    case ENODEV:
    case ENOENT:
      return Code::not_found;
    case EINVAL:
    case ERANGE:
      return Code::bad_input;
    default:
      return Code::io;
  }
}

/// What the kernel itself says of a refusal (extended acknowledgement), or nothing.
std::string kernel_text(const nlmsghdr* header) {
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  // With NETLINK_CAP_ACK the refused message is not echoed: attributes follow nlmsgerr.
  const int start = static_cast<int>(NLMSG_ALIGN(sizeof(nlmsgerr)));
  const auto* attribute = nlmsg_attrdata(header, start);
  int left = nlmsg_attrlen(header, start);
  for (; nla_ok(attribute, left); attribute = nla_next(attribute, &left))
    if (nla_type(attribute) == NLMSGERR_ATTR_MSG && nla_len(attribute) > 0) {
      const auto* text = static_cast<const char*>(nla_data(attribute));
      return std::string(text, strnlen(text, static_cast<std::size_t>(nla_len(attribute))));
    }
  return {};
}

Error refusal(const std::string& what, int error, const std::string& kernel) {
  std::string text = what + ": " + std::strerror(error);
  if (!kernel.empty()) text += " (kernel: " + kernel + ")";
  if (code_of(error) == Code::denied) text += "; it needs CAP_NET_ADMIN";
  return Error{code_of(error), std::move(text)};
}

}  // namespace

void FreeMessage::operator()(nl_msg* message) const {
  nlmsg_free(message);
}

nl_msg* made(nl_msg* message) {
  WDMOE_CHECK(message != nullptr);
  return message;
}

void must(int libnl_code) {
  WDMOE_CHECK(libnl_code >= 0);
}

Error from_libnl(const std::string& doing, int code) {
  return Error{Code::io, doing + ": " + nl_geterror(code)};
}

void Batch::add(MessagePtr message, std::string what) {
  messages_.push_back({std::move(message), std::move(what)});
}

void NetlinkSocket::Close::operator()(nl_sock* socket) const {
  nl_socket_free(socket);
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  NetlinkSocket out(nl_socket_alloc());
  if (!out.socket_) return fail(Code::io, "netlink: out of memory");
  nl_sock* socket = out.socket_.get();
  // Acknowledgements of a batch are matched by number in await(), dumps by libnl.
  nl_socket_disable_seq_check(socket);
  if (const int failed = nl_connect(socket, protocol); failed < 0)
    return tl::unexpected<Error>(from_libnl("netlink", failed));
  (void)nl_socket_set_buffer_size(socket, kSocketBytes, kSocketBytes);
  const int fd = nl_socket_get_fd(socket), on = 1;
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0)
    return fail(Code::io, std::string("netlink: ") + std::strerror(errno));
  out.answer_.resize(kAnswerBytes);
  return out;
}

Result<void> NetlinkSocket::transact(Batch& batch) {
  std::optional<Error> refused;
  const auto& all = batch.messages_;
  for (std::size_t first = 0; first < all.size();) {
    std::vector<iovec> parts;
    std::size_t bytes = 0, next = first;
    for (; next < all.size(); ++next) {
      nlmsghdr* header = nlmsg_hdr(all[next].message.get());
      const std::size_t length = NLMSG_ALIGN(header->nlmsg_len);  // libnl pads its buffers so
      if (parts.size() == kCallMessages || (next > first && bytes + length > kCallBytes)) break;
      nl_complete_msg(socket_.get(), all[next].message.get());
      header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
      parts.push_back({header, length});
      bytes += length;
    }
    auto outcome = exchange(parts, Span<const Batch::Message>(&all[first], next - first));
    if (!outcome && !refused) refused = std::move(outcome).error();
    first = next;
  }
  if (refused) return tl::unexpected<Error>(std::move(*refused));
  return {};
}

Result<void> NetlinkSocket::exchange(std::vector<iovec>& parts, Span<const Batch::Message> sent) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  msghdr message{};
  message.msg_name = &kernel;
  message.msg_namelen = sizeof kernel;
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (sendmsg(nl_socket_get_fd(socket_.get()), &message, 0) < 0)
    return fail(Code::io, std::string("netlink: send: ") + std::strerror(errno));
  return await(sent);
}

Result<void> NetlinkSocket::await(Span<const Batch::Message> sent) {
  std::optional<Error> refused;
  const std::uint32_t first = nlmsg_hdr(sent[0].message.get())->nlmsg_seq;
  for (std::size_t missing = sent.size(); missing > 0;) {
    const auto got = receive();
    if (!got) return tl::unexpected<Error>(got.error());
    auto* header = reinterpret_cast<nlmsghdr*>(answer_.data());
    int left = static_cast<int>(*got);
    for (; nlmsg_ok(header, left); header = nlmsg_next(header, &left)) {
      const std::uint32_t which = header->nlmsg_seq - first;  // old answers wrap to large numbers
      if (header->nlmsg_type != NLMSG_ERROR || which >= sent.size()) continue;
      --missing;
      const int error = -static_cast<const nlmsgerr*>(nlmsg_data(header))->error;
      if (error != 0 && !refused) refused = refusal(sent[which].what, error, kernel_text(header));
    }
  }
  if (refused) return tl::unexpected<Error>(std::move(*refused));
  return {};
}

Result<void> NetlinkSocket::ask(MessagePtr question, const std::string& what,
                                const std::function<void(nlmsghdr*)>& each) {
  nl_complete_msg(socket_.get(), question.get());
  nlmsghdr* asked = nlmsg_hdr(question.get());
  // A dump ends with NLMSG_DONE, anything else with its acknowledgement.
  asked->nlmsg_flags |= NLM_F_REQUEST;
  if ((asked->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) asked->nlmsg_flags |= NLM_F_ACK;
  const std::uint32_t number = asked->nlmsg_seq;
  if (const int failed = nl_send(socket_.get(), question.get()); failed < 0)
    return tl::unexpected<Error>(from_libnl(what, failed));
  for (;;) {
    const auto got = receive();
    if (!got) return tl::unexpected<Error>(got.error());
    auto* header = reinterpret_cast<nlmsghdr*>(answer_.data());
    int left = static_cast<int>(*got);
    for (; nlmsg_ok(header, left); header = nlmsg_next(header, &left)) {
      if (header->nlmsg_seq != number) continue;
      if (header->nlmsg_type == NLMSG_DONE) return {};
      if (header->nlmsg_type == NLMSG_ERROR) {
        const int error = -static_cast<const nlmsgerr*>(nlmsg_data(header))->error;
        if (error == 0) return {};
        return tl::unexpected<Error>(refusal(what, error, kernel_text(header)));
      }
      each(header);
    }
  }
}

Result<std::size_t> NetlinkSocket::receive() {
  for (;;) {
    const auto got =
        recv(nl_socket_get_fd(socket_.get()), answer_.data(), answer_.size(), MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(Code::io, std::string("netlink: no answer: ") + std::strerror(errno));
    if (static_cast<std::size_t>(got) > answer_.size())
      return fail(Code::limit, "netlink: an answer of " + std::to_string(got) + " bytes");
    return static_cast<std::size_t>(got);
  }
}

}  // namespace wdmoe::shaping
