#pragma once
// How expert traffic finds its HTB class on the base station's interface.  The tree that `tc`
// installs:
//
//     5744:          htb, unclassified traffic goes to 5744:2
//     +- 5744:1      the cell: rate = ceil = what the whole cell may be sent
//     |  +- 5744:2   everything that is not expert traffic: its own guarantee, so never starved
//     |  +- 5744:10  agent in slot 0: rate = its share, ceil = what its link carries
//     |  +- 5744:11  agent in slot 1 …
//     +- 5744:d0e    the marker: no traffic, a rate that nobody else would choose
//
// A socket whose SO_PRIORITY is a class's handle is queued there without any filter (htb looks for
// the class before it asks filters), so classifying costs nothing per packet.  Where no such class
// is installed the value is harmless: the traffic takes the default class.

#include <cstddef>
#include <cstdint>

namespace wdmoe::shaping {

/// "WD": the major number of our handles; with the marker class it tells our tree from others.
constexpr std::uint32_t kMajor = 0x5744;
constexpr std::uint32_t kCellMinor = 1, kOthersMinor = 2, kFirstAgentMinor = 0x10,
                        kMarkerMinor = 0xd0e;
/// As many as the fleet's roster may hold.
constexpr std::size_t kMostSlots = 1024;

constexpr std::uint32_t handle_of(std::uint32_t minor) {
  return kMajor << 16 | minor;
}

/// The class, and so the SO_PRIORITY (it needs CAP_NET_ADMIN), of the agent with this number in the
/// roster; slot < kMostSlots.
constexpr std::uint32_t class_of(std::size_t slot) {
  return handle_of(kFirstAgentMinor + static_cast<std::uint32_t>(slot));
}

}  // namespace wdmoe::shaping
