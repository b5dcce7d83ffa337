#include "bsd/shaping/tc.h"

#include <algorithm>
#include <utility>

#include "bsd/shaping/classes.h"
#include "bsd/shaping/privileges.h"

namespace wdmoe::shaping {
namespace {

constexpr const char* kActuator = "tc";

struct Root {
  Owner owner = Owner::nobody;
  std::string kind;
};

Result<Root> look(RouteSocket& socket, const Interface& interface) {
  const auto qdiscs = socket.qdiscs(interface);
  if (!qdiscs) return tl::unexpected<Error>(qdiscs.error());
  const auto classes = socket.classes(interface);
  if (!classes) return tl::unexpected<Error>(classes.error());
  return Root{owner_of(*qdiscs, *classes), root_kind(*qdiscs)};
}

Error foreign(const Interface& interface, const Root& root) {
  return Error{Code::busy, "interface " + interface.name +
                               " has a queueing discipline that somebody set (" + root.kind +
                               "), and wdmoe leaves it alone; `tc qdisc del dev " + interface.name +
                               " root` gives the interface back its default, then start again"};
}

/// Takes our tree from an interface, if there is one, and its record.  The caller holds the claim.
Result<std::optional<std::string>> remove_ours(RouteSocket& socket, const Interface& interface,
                                               const Records& records) {
  const auto root = look(socket, interface);
  if (!root) return tl::unexpected<Error>(root.error());
  std::optional<std::string> done;
  if (root->owner == Owner::us) {
    Batch batch;
    remove_root(batch, interface);
    WDMOE_TRY(socket.transact(batch));
    const auto now = look(socket, interface);
    if (!now) return tl::unexpected<Error>(now.error());
    done = "interface " + interface.name + ": wdmoe's queues removed, its root is " + now->kind +
           " again";
  }
  // Unreadable or not, it says nothing any more.
  WDMOE_TRY(records.erase(kActuator, interface.name));
  return done;
}

}  // namespace

Result<std::unique_ptr<Tc>> Tc::open(const TcOptions& options) {
  auto socket = RouteSocket::open();
  if (!socket) return tl::unexpected<Error>(socket.error());
  auto interface = socket->find(options.interface);
  if (!interface) return fail("tc", interface.error());
  WDMOE_TRY(require_network_admin(kActuator, "the queues of " + options.interface));
  auto claim = Claim::take(kActuator, interface->name);
  if (!claim) return fail("tc", claim.error());
  const Records records(options.state_directory);
  const auto cleaned = remove_ours(*socket, *interface, records);
  if (!cleaned) return fail("tc", cleaned.error());
  const auto root = look(*socket, *interface);
  if (!root) return fail("tc", root.error());
  if (root->owner == Owner::other) return tl::unexpected<Error>(foreign(*interface, *root));
  return std::unique_ptr<Tc>(
      new Tc(std::move(*socket), std::move(*interface), records, std::move(*claim)));
}

Result<void> Tc::apply(const Plan& plan) {
  const auto wanted = tree_for(plan);
  if (!wanted) return tl::unexpected<Error>(wanted.error());
  if (installed_.empty()) WDMOE_TRY(install());
  if (auto moved = move_to(*wanted); !moved) {
    // Some of it may be in force: go on from what the kernel holds.
    const auto classes = socket_.classes(interface_);
    if (classes) installed_ = tree_of(*classes);
    if (!classes || installed_.count(kMarkerMinor) == 0) (void)restore();
    fault_ = moved.error().text;
    return moved;
  }
  agents_.clear();
  for (const Share& share : plan.shares)
    agents_[kFirstAgentMinor + static_cast<std::uint32_t>(share.slot)] = {
        share.slot, share.address.find(':') != std::string::npos};
  fault_.clear();
  return {};
}

Result<void> Tc::install() {
  auto found = socket_.find(interface_.name);  // it may have gone and come back with another number
  if (!found) return fail("tc", found.error());
  interface_ = std::move(*found);
  const auto root = look(socket_, interface_);
  if (!root) return tl::unexpected<Error>(root.error());
  if (root->owner == Owner::other) return tl::unexpected<Error>(foreign(interface_, *root));
  if (root->owner == Owner::us) return fail(Code::busy, "tc: queues of wdmoe came from elsewhere");
  touched_ = true;
  // Before the first change: whoever finds the tree finds what was there before, too.
  WDMOE_TRY(records_.write({kActuator, interface_.name, {{"root", root->kind}}}));
  Batch batch;
  add_root(batch, interface_);
  put_class(batch, interface_, kMarkerMinor, {0, kMarkerBps, kMarkerBps}, ClassRequest::add);
  if (auto made = socket_.transact(batch); !made) {
    (void)remove_ours(socket_, interface_, records_);
    return made;
  }
  installed_[kMarkerMinor] = {0, kMarkerBps, kMarkerBps};
  leaf_ = best_leaf();
  return {};
}

/// The best that this kernel has, found by asking for it within the marker's class.
Leaf Tc::best_leaf() {
  Batch batch;
  add_leaf(batch, interface_, kMarkerMinor, Leaf::fq_codel);
  return socket_.transact(batch) ? Leaf::fq_codel : Leaf::bfifo;
}

Result<void> Tc::move_to(const Tree& wanted) {
  const TreeChange change = changes(installed_, wanted);
  Batch batch;
  for (const std::uint32_t minor : change.add)
    put_class(batch, interface_, minor, wanted.at(minor), ClassRequest::add);
  for (const std::uint32_t minor : change.add)
    if (minor != kCellMinor) add_leaf(batch, interface_, minor, leaf_);
  for (const std::uint32_t minor : change.change)
    put_class(batch, interface_, minor, wanted.at(minor), ClassRequest::change);
  for (const std::uint32_t minor : change.remove)
    put_class(batch, interface_, minor, installed_.at(minor), ClassRequest::remove);
  WDMOE_TRY(socket_.transact(batch));
  installed_ = wanted;
  return {};
}

Result<void> Tc::observe(std::vector<Observed>& out) {
  out.clear();
  if (installed_.empty()) return {};
  const auto classes = socket_.classes(interface_);
  if (!classes) return tl::unexpected<Error>(classes.error());
  const Tree present = tree_of(*classes);
  if (present.count(kMarkerMinor) == 0) {
    installed_.clear();
    fault_ = "the queues on " + interface_.name + " were removed by somebody else";
    return {};
  }
  if (!changes(present, installed_).empty()) {
    installed_ = present;  // the next apply() mends it
    fault_ = "the classes on " + interface_.name + " were changed by somebody else";
  }
  for (const HtbClass& each : *classes) {
    const auto agent = agents_.find(each.handle & 0xffff);
    if (each.handle >> 16 != kMajor || agent == agents_.end()) continue;
    Observed seen;
    seen.slot = agent->second.slot;
    seen.down_bps = static_cast<double>(each.rate_bps) * kPayloadOfWire;
    seen.down_bytes = payload_of(each, agent->second.ipv6);
    seen.backlog_bytes = each.backlog_bytes;
    out.push_back(seen);
  }
  std::sort(out.begin(), out.end(),
            [](const Observed& a, const Observed& b) { return a.slot < b.slot; });
  return {};
}

Health Tc::health() const {
  return {!fault_.empty(), fault_};
}

Result<void> Tc::restore() {
  if (!touched_) return {};
  installed_.clear();
  agents_.clear();
  const auto removed = remove_ours(socket_, interface_, records_);
  if (!removed && removed.error().code != Code::not_found)
    return tl::unexpected<Error>(removed.error());
  touched_ = false;
  return {};
}

Result<std::optional<std::string>> reset_tc(const std::string& name, const Records& records) {
  auto socket = RouteSocket::open();
  if (!socket) return tl::unexpected<Error>(socket.error());
  const auto interface = socket->find(name);
  if (!interface && interface.error().code == Code::not_found) {
    WDMOE_TRY(records.erase(kActuator, name));  // it went with its interface
    return std::optional<std::string>();
  }
  if (!interface) return tl::unexpected<Error>(interface.error());
  const auto claim = Claim::take(kActuator, name);
  if (!claim) return tl::unexpected<Error>(claim.error());
  return remove_ours(*socket, *interface, records);
}

}  // namespace wdmoe::shaping
