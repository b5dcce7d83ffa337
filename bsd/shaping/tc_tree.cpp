#include "bsd/shaping/tc_tree.h"

#include <algorithm>
#include <cmath>

#include <linux/pkt_sched.h>

#include "bsd/shaping/classes.h"

namespace wdmoe::shaping {
namespace {

// What others are guaranteed beside the shares: a plan leaves 5 % of the medium free, and a share
// of that size keeps logins and address resolution alive while agents saturate it.
constexpr double kOthersShare = 0.05;
constexpr double kOthersLeastBps = 256e3;

bool is_rate(double bps) {
  return std::isfinite(bps) && bps >= kLeastBps && bps <= kMostBps;
}

/// Whole bytes a second, as htb keeps them, so that what is read back compares equal.
std::uint64_t on_wire(double payload_bps) {
  return static_cast<std::uint64_t>(std::llround(payload_bps / kPayloadOfWire / 8)) * 8;
}

const Qdisc* root_of(Span<const Qdisc> qdiscs) {
  const auto found = std::find_if(qdiscs.begin(), qdiscs.end(),
                                  [](const Qdisc& each) { return each.parent == TC_H_ROOT; });
  return found == qdiscs.end() ? nullptr : &*found;
}

}  // namespace

Result<Tree> tree_for(const Plan& plan) {
  constexpr const char* kExpected = ": expected a rate of 1 kbit/s to 10 Gbit/s, not ";
  if (!is_rate(plan.down_bps))
    return fail(Code::bad_input, "tc: the cell" + (kExpected + std::to_string(plan.down_bps)));
  const std::uint64_t cell = on_wire(plan.down_bps);
  Tree tree;
  tree[kMarkerMinor] = {0, kMarkerBps, kMarkerBps};
  tree[kCellMinor] = {0, cell, cell};
  const auto others = on_wire(std::max(plan.down_bps * kOthersShare, kOthersLeastBps));
  tree[kOthersMinor] = {kCellMinor, std::min(others, cell), cell};
  for (const Share& share : plan.shares) {
    if (share.slot >= kMostSlots)
      return fail(Code::bad_input, "tc: agent " + share.agent + ": slot " +
                                       std::to_string(share.slot) + " is beyond the " +
                                       std::to_string(kMostSlots) + " classes there are");
    if (!is_rate(share.down_bps))
      return fail(Code::bad_input,
                  "tc: agent " + share.agent + (kExpected + std::to_string(share.down_bps)));
    const std::uint64_t rate = std::min(on_wire(share.down_bps), cell);
    const double most = is_rate(share.down_ceiling_bps) ? share.down_ceiling_bps : plan.down_bps;
    tree[kFirstAgentMinor + static_cast<std::uint32_t>(share.slot)] = {
        kCellMinor, rate, std::clamp(on_wire(most), rate, cell)};
  }
  return tree;
}

TreeChange changes(const Tree& present, const Tree& wanted) {
  TreeChange out;
  for (const auto& [minor, rates] : wanted) {
    const auto found = present.find(minor);
    if (found == present.end())
      out.add.push_back(minor);
    else if (!(found->second == rates))
      out.change.push_back(minor);
  }
  for (const auto& each : present)
    if (wanted.count(each.first) == 0) out.remove.push_back(each.first);
  return out;
}

Tree tree_of(Span<const HtbClass> classes) {
  Tree out;
  for (const HtbClass& each : classes)
    if (each.handle >> 16 == kMajor) {
      const bool top = each.parent == TC_H_ROOT || each.parent == handle_of(0);
      out[each.handle & 0xffff] = {top ? 0 : each.parent & 0xffff, each.rate_bps, each.ceil_bps};
    }
  return out;
}

std::uint64_t payload_of(const HtbClass& sent, bool ipv6) {
  // Ethernet 14, TCP 20 and its time stamps 12, IPv4 20 or IPv6 40.
  const std::uint64_t headers = sent.sent_packets * (ipv6 ? 86 : 66);
  return sent.sent_bytes > headers ? sent.sent_bytes - headers : 0;
}

Owner owner_of(Span<const Qdisc> qdiscs, Span<const HtbClass> classes) {
  const Qdisc* root = root_of(qdiscs);
  if (root == nullptr || root->handle == 0) return Owner::nobody;
  if (root->kind != "htb" || root->handle != handle_of(0)) return Owner::other;
  const bool marked = std::any_of(classes.begin(), classes.end(), [](const HtbClass& each) {
    return each.handle == handle_of(kMarkerMinor) && each.rate_bps == kMarkerBps;
  });
  return marked ? Owner::us : Owner::other;
}

std::string root_kind(Span<const Qdisc> qdiscs) {
  const Qdisc* root = root_of(qdiscs);
  return root == nullptr ? "none" : root->kind;
}

}  // namespace wdmoe::shaping
