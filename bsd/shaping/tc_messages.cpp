#include "bsd/shaping/tc_messages.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <netlink/route/class.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/fifo.h>
#include <netlink/route/qdisc/fq_codel.h>
#include <netlink/route/qdisc/htb.h>
#include <netlink/route/tc.h>

#include "bsd/shaping/classes.h"
#include "common/check.h"

namespace wdmoe::shaping {
namespace {

// TCP keeps little in a queue below it (TCP small queues), so a bound of a class serves against
// other senders; as fewest drops matter more than its length it is generous.
constexpr int kBfifoBytes = 256 * 1024;
constexpr int kFqCodelPackets = 1'000;
// CoDel's 5 ms is less than two full frames take at 2 Mbit/s.
constexpr std::uint32_t kFqCodelTargetUs = 12'000;
constexpr std::uint32_t kFqCodelIntervalUs = 100'000;
// A class may catch up on so much lateness of the kernel's timer, and always on two frames.
constexpr double kBurstSeconds = 0.004;
constexpr double kBurstLeastBytes = 2 * 1'514;
// Bytes a class may borrow in its turn: in proportion to its rate (250 kB/s: 2.5 kB), within what
// htb takes without a warning.
constexpr double kTurnSeconds = 0.01;
constexpr double kLeastTurn = 1'514, kMostTurn = 60'000;

struct FreeQdisc {
  void operator()(rtnl_qdisc* qdisc) const { rtnl_qdisc_put(qdisc); }
};
struct FreeClass {
  void operator()(rtnl_class* made) const { rtnl_class_put(made); }
};
using QdiscPtr = std::unique_ptr<rtnl_qdisc, FreeQdisc>;
using ClassPtr = std::unique_ptr<rtnl_class, FreeClass>;

/// libnl fails here only without memory.
template <class Object>
Object* alive(Object* object) {
  WDMOE_CHECK(object != nullptr);
  return object;
}

std::string named(const char* what, std::uint32_t handle, const Interface& interface) {
  char text[48];
  std::snprintf(text, sizeof text, "tc: %s %x:%x of ", what, handle >> 16, handle & 0xffff);
  return text + interface.name;
}

QdiscPtr qdisc(const Interface& interface, std::uint32_t parent, std::uint32_t handle,
               const char* kind) {
  QdiscPtr out(alive(rtnl_qdisc_alloc()));
  rtnl_tc* tc = TC_CAST(out.get());
  rtnl_tc_set_ifindex(tc, interface.index);
  rtnl_tc_set_parent(tc, parent);
  rtnl_tc_set_handle(tc, handle);
  must(rtnl_tc_set_kind(tc, kind));
  return out;
}

ClassPtr htb_class(const Interface& interface, std::uint32_t minor, const ClassRates& rates) {
  ClassPtr out(alive(rtnl_class_alloc()));
  rtnl_tc* tc = TC_CAST(out.get());
  rtnl_tc_set_ifindex(tc, interface.index);
  rtnl_tc_set_parent(tc, handle_of(rates.parent));
  rtnl_tc_set_handle(tc, handle_of(minor));
  must(rtnl_tc_set_kind(tc, "htb"));
  const auto burst = [](double bytes) {
    return static_cast<std::uint32_t>(bytes * kBurstSeconds + kBurstLeastBytes);
  };
  const double rate = static_cast<double>(rates.rate_bps) / 8;
  const double ceil = static_cast<double>(rates.ceil_bps) / 8;
  must(rtnl_htb_set_rate(out.get(), static_cast<std::uint32_t>(rate)));
  must(rtnl_htb_set_ceil(out.get(), static_cast<std::uint32_t>(ceil)));
  must(rtnl_htb_set_rbuffer(out.get(), burst(rate)));
  must(rtnl_htb_set_cbuffer(out.get(), burst(ceil)));
  must(rtnl_htb_set_quantum(out.get(), static_cast<std::uint32_t>(std::clamp(
                                           rate * kTurnSeconds, kLeastTurn, kMostTurn))));
  // What is free goes to agents first; others have their guarantee.
  must(rtnl_htb_set_prio(out.get(), minor == kOthersMinor ? 1 : 0));
  return out;
}

}  // namespace

std::string_view name_of(Leaf leaf) {
  return leaf == Leaf::fq_codel ? "fq_codel" : "bfifo";
}

void add_root(Batch& batch, const Interface& interface) {
  const QdiscPtr root = qdisc(interface, TC_H_ROOT, handle_of(0), "htb");
  must(rtnl_htb_set_defcls(root.get(), kOthersMinor));
  nl_msg* message = nullptr;
  must(rtnl_qdisc_build_add_request(root.get(), NLM_F_CREATE | NLM_F_EXCL, &message));
  batch.add(MessagePtr(message), named("root htb", handle_of(0), interface));
}

void remove_root(Batch& batch, const Interface& interface) {
  const QdiscPtr root = qdisc(interface, TC_H_ROOT, handle_of(0), "htb");
  nl_msg* message = nullptr;
  must(rtnl_qdisc_build_delete_request(root.get(), &message));
  batch.add(MessagePtr(message), named("removing root htb", handle_of(0), interface));
}

void put_class(Batch& batch, const Interface& interface, std::uint32_t minor,
               const ClassRates& rates, ClassRequest request) {
  const ClassPtr made_class = htb_class(interface, minor, rates);
  nl_msg* message = nullptr;
  if (request == ClassRequest::remove)
    must(rtnl_class_build_delete_request(made_class.get(), &message));
  else
    must(rtnl_class_build_add_request(
        made_class.get(), request == ClassRequest::add ? NLM_F_CREATE | NLM_F_EXCL : 0, &message));
  batch.add(MessagePtr(message), named("class", handle_of(minor), interface));
}

void add_leaf(Batch& batch, const Interface& interface, std::uint32_t minor, Leaf leaf) {
  const QdiscPtr made_leaf =
      qdisc(interface, handle_of(minor), TC_H_UNSPEC, std::string(name_of(leaf)).c_str());
  if (leaf == Leaf::fq_codel) {
    must(rtnl_qdisc_fq_codel_set_limit(made_leaf.get(), kFqCodelPackets));
    must(rtnl_qdisc_fq_codel_set_target(made_leaf.get(), kFqCodelTargetUs));
    must(rtnl_qdisc_fq_codel_set_interval(made_leaf.get(), kFqCodelIntervalUs));
  } else {
    must(rtnl_qdisc_fifo_set_limit(made_leaf.get(), kBfifoBytes));
  }
  nl_msg* message = nullptr;
  must(rtnl_qdisc_build_add_request(made_leaf.get(), NLM_F_CREATE, &message));
  batch.add(MessagePtr(message), named("queue of class", handle_of(minor), interface));
}

void add_plain_root(Batch& batch, const Interface& interface, const std::string& kind) {
  const QdiscPtr root = qdisc(interface, TC_H_ROOT, TC_HANDLE(1, 0), kind.c_str());
  nl_msg* message = nullptr;
  must(rtnl_qdisc_build_add_request(root.get(), NLM_F_CREATE | NLM_F_EXCL, &message));
  batch.add(MessagePtr(message), "tc: root " + kind + " of " + interface.name);
}

void remove_plain_root(Batch& batch, const Interface& interface) {
  const QdiscPtr root(alive(rtnl_qdisc_alloc()));
  rtnl_tc_set_ifindex(TC_CAST(root.get()), interface.index);
  rtnl_tc_set_parent(TC_CAST(root.get()), TC_H_ROOT);
  nl_msg* message = nullptr;
  must(rtnl_qdisc_build_delete_request(root.get(), &message));
  batch.add(MessagePtr(message), "tc: removing the root of " + interface.name);
}

void add_link(Batch& batch, const std::string& name, const std::string& kind) {
  struct FreeLink {
    void operator()(rtnl_link* link) const { rtnl_link_put(link); }
  };
  const std::unique_ptr<rtnl_link, FreeLink> link(alive(rtnl_link_alloc()));
  rtnl_link_set_name(link.get(), name.c_str());
  must(rtnl_link_set_type(link.get(), kind.c_str()));
  nl_msg* message = nullptr;
  must(rtnl_link_build_add_request(link.get(), NLM_F_CREATE | NLM_F_EXCL, &message));
  batch.add(MessagePtr(message), "interface " + name + " (" + kind + ")");
}

}  // namespace wdmoe::shaping
