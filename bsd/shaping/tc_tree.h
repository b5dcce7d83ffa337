#pragma once
// The tc actuator's decisions, pure: which HTB classes a plan needs, what must change to get there,
// and whether a tree that the kernel holds is one of ours.

#include <cstdint>
#include <map>
#include <vector>

#include "bsd/shaping/actuator.h"
#include "bsd/shaping/route.h"
#include "common/result.h"
#include "common/span.h"

namespace wdmoe::shaping {

/// TCP payload's share of the bytes that htb counts: 1448 of 1514 in a full Ethernet frame,
/// measured 0.955 with acknowledgements.
constexpr double kPayloadOfWire = 0.955;
/// What one rate may be, bit/s of payload: htb stops at 34 Gbit/s (32 bits of bytes a second).
constexpr double kLeastBps = 1e3, kMostBps = 1e10;
/// The marker class's rate, bit/s.
constexpr std::uint64_t kMarkerBps = 8 * 7411;

/// One HTB class as it should be; rates are bit/s on the wire.
struct ClassRates {
  std::uint32_t parent = 0;  ///< minor; 0: the root
  std::uint64_t rate_bps = 0, ceil_bps = 0;
  bool operator==(const ClassRates& other) const {
    return parent == other.parent && rate_bps == other.rate_bps && ceil_bps == other.ceil_bps;
  }
};

/// minor -> class; parents come before their children.
using Tree = std::map<std::uint32_t, ClassRates>;

/// The tree that enforces a plan.  bad_input names the agent whose share is no rate, or whose slot
/// is not below kMostSlots.
Result<Tree> tree_for(const Plan& plan);

/// What turns `present` into `wanted`.
struct TreeChange {
  std::vector<std::uint32_t> add, change, remove;  ///< minors
  bool empty() const { return add.empty() && change.empty() && remove.empty(); }
};
TreeChange changes(const Tree& present, const Tree& wanted);

/// The tree that the kernel holds, of what a dump shows.
Tree tree_of(Span<const HtbClass> classes);

/// Payload of what a class has sent: less the headers of Ethernet, IP and TCP in every frame.
std::uint64_t payload_of(const HtbClass& sent, bool ipv6);

enum class Owner {
  nobody,  ///< the kernel's default discipline, or none
  us,      ///< a tree of wdmoe: our major number and the marker
  other,   ///< somebody set it; never touched
};
/// Who set the root of an interface.
Owner owner_of(Span<const Qdisc> qdiscs, Span<const HtbClass> classes);

/// The root's kind for people; "none" if the kernel shows none.
std::string root_kind(Span<const Qdisc> qdiscs);

}  // namespace wdmoe::shaping
