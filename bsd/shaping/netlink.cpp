#include "bsd/shaping/netlink.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/class.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/htb.h>
#include <netlink/route/tc.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

namespace wdmoe::shaping {
namespace {

constexpr std::size_t kAnswerBytes = 32 * 1024;  // an acknowledgement comes alone, a dump in pages
// Of the socket, each way: what every kernel grants without privilege.  It takes a system call of
// 64 classes (2.2 KiB each, libnl adds the rate tables that old kernels wanted) and the answers.
constexpr int kSocketBytes = 212'992;
constexpr std::size_t kCallBytes = 160 * 1024, kCallMessages = 256;
constexpr timeval kPatience{2, 0};  // the kernel answers at once; this only bounds a surprise

struct FreeCache {
  void operator()(nl_cache* cache) const { nl_cache_free(cache); }
};
using Cache = std::unique_ptr<nl_cache, FreeCache>;

Error from_libnl(const std::string& doing, int code) {
  return Error{Code::io, doing + ": " + nl_geterror(code)};
}

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

Interface interface_of(rtnl_link* link) {
  const char* name = rtnl_link_get_name(link);
  return {name == nullptr ? "" : name, rtnl_link_get_ifindex(link),
          (rtnl_link_get_flags(link) & IFF_UP) != 0};
}

HtbClass class_from(nl_object* object) {
  auto* found = reinterpret_cast<rtnl_class*>(object);
  rtnl_tc* tc = TC_CAST(found);
  HtbClass out;
  out.handle = rtnl_tc_get_handle(tc);
  out.parent = rtnl_tc_get_parent(tc);
  out.rate_bps = std::uint64_t{rtnl_htb_get_rate(found)} * 8;
  out.ceil_bps = std::uint64_t{rtnl_htb_get_ceil(found)} * 8;
  out.sent_bytes = rtnl_tc_get_stat(tc, RTNL_TC_BYTES);
  out.sent_packets = rtnl_tc_get_stat(tc, RTNL_TC_PACKETS);
  out.drops = rtnl_tc_get_stat(tc, RTNL_TC_DROPS);
  out.backlog_bytes = static_cast<std::uint32_t>(rtnl_tc_get_stat(tc, RTNL_TC_BACKLOG));
  return out;
}

}  // namespace

Result<void> check_interface_name(std::string_view name) {
  const bool letters = std::all_of(
      name.begin(), name.end(), [](char c) { return c > ' ' && c < 127 && c != '/' && c != ':'; });
  if (!name.empty() && name.size() < IFNAMSIZ && letters && name != "." && name != "..") return {};
  return fail(Code::bad_input, "interface '" + std::string(name.substr(0, 40)) +
                                   "': expected 1 to 15 printable characters without '/' and ':'");
}

void Batch::Free::operator()(nl_msg* message) const {
  nlmsg_free(message);
}

void Batch::add(nl_msg* message, std::string what) {
  messages_.push_back({std::unique_ptr<nl_msg, Free>(message), std::move(what)});
}

void RouteSocket::Close::operator()(nl_sock* socket) const {
  nl_socket_free(socket);
}

Result<RouteSocket> RouteSocket::open() {
  RouteSocket out(nl_socket_alloc());
  if (!out.socket_) return fail(Code::io, "rtnetlink: out of memory");
  nl_sock* socket = out.socket_.get();
  // Acknowledgements of a batch are matched by number in await(), dumps by libnl.
  nl_socket_disable_seq_check(socket);
  if (const int failed = nl_connect(socket, NETLINK_ROUTE); failed < 0)
    return tl::unexpected<Error>(from_libnl("rtnetlink", failed));
  (void)nl_socket_set_buffer_size(socket, kSocketBytes, kSocketBytes);
  const int fd = nl_socket_get_fd(socket), on = 1;
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0)
    return fail(Code::io, std::string("rtnetlink: ") + std::strerror(errno));
  out.answer_.resize(kAnswerBytes);
  return out;
}

Result<Interface> RouteSocket::find(std::string_view name) {
  WDMOE_TRY(check_interface_name(name));
  const std::string wanted(name);
  rtnl_link* link = nullptr;
  const int failed = rtnl_link_get_kernel(socket_.get(), 0, wanted.c_str(), &link);
  if (failed < 0 || link == nullptr)
    return fail(Code::not_found,
                "interface '" + wanted + "' does not exist here; `ip link` lists those there are");
  Interface out = interface_of(link);
  rtnl_link_put(link);
  return out;
}

Result<std::vector<Interface>> RouteSocket::interfaces() {
  nl_cache* raw = nullptr;
  if (const int failed = rtnl_link_alloc_cache(socket_.get(), AF_UNSPEC, &raw); failed < 0)
    return tl::unexpected<Error>(from_libnl("list of interfaces", failed));
  const Cache cache(raw);
  std::vector<Interface> out;
  for (auto* object = nl_cache_get_first(raw); object != nullptr;
       object = nl_cache_get_next(object))
    out.push_back(interface_of(reinterpret_cast<rtnl_link*>(object)));
  return out;
}

Result<void> RouteSocket::transact(Batch& batch) {
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

Result<void> RouteSocket::exchange(std::vector<iovec>& parts, Span<const Batch::Message> sent) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  msghdr message{};
  message.msg_name = &kernel;
  message.msg_namelen = sizeof kernel;
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (sendmsg(nl_socket_get_fd(socket_.get()), &message, 0) < 0)
    return fail(Code::io, std::string("rtnetlink: send: ") + std::strerror(errno));
  return await(sent);
}

Result<void> RouteSocket::await(Span<const Batch::Message> sent) {
  std::optional<Error> refused;
  const std::uint32_t first = nlmsg_hdr(sent[0].message.get())->nlmsg_seq;
  for (std::size_t missing = sent.size(); missing > 0;) {
    const auto got = recv(nl_socket_get_fd(socket_.get()), answer_.data(), answer_.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return fail(Code::io, std::string("rtnetlink: no answer: ") + std::strerror(errno));
    auto* header = reinterpret_cast<nlmsghdr*>(answer_.data());
    int left = static_cast<int>(got);
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

Result<std::vector<Qdisc>> RouteSocket::qdiscs(const Interface& interface) {
  nl_cache* raw = nullptr;
  if (const int failed = rtnl_qdisc_alloc_cache(socket_.get(), &raw); failed < 0)
    return tl::unexpected<Error>(from_libnl("queueing disciplines of " + interface.name, failed));
  const Cache cache(raw);
  std::vector<Qdisc> out;
  for (auto* object = nl_cache_get_first(raw); object != nullptr;
       object = nl_cache_get_next(object)) {
    rtnl_tc* tc = TC_CAST(object);
    if (rtnl_tc_get_ifindex(tc) != interface.index) continue;
    out.push_back({rtnl_tc_get_kind(tc), rtnl_tc_get_handle(tc), rtnl_tc_get_parent(tc)});
  }
  return out;
}

Result<std::vector<HtbClass>> RouteSocket::classes(const Interface& interface) {
  nl_cache* raw = nullptr;
  if (const int failed = rtnl_class_alloc_cache(socket_.get(), interface.index, &raw); failed < 0)
    return tl::unexpected<Error>(from_libnl("classes of " + interface.name, failed));
  const Cache cache(raw);
  std::vector<HtbClass> out;
  for (auto* object = nl_cache_get_first(raw); object != nullptr;
       object = nl_cache_get_next(object))
    if (std::strcmp(rtnl_tc_get_kind(TC_CAST(object)), "htb") == 0)
      out.push_back(class_from(object));
  return out;
}

}  // namespace wdmoe::shaping
