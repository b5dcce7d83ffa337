#pragma once
// The traffic-control messages of the tc actuator, made with libnl-route and put into a batch.

#include <cstdint>
#include <string>
#include <string_view>

#include "bsd/shaping/route.h"
#include "bsd/shaping/tc_tree.h"

namespace wdmoe::shaping {

/// What queues within a class.
enum class Leaf {
  fq_codel,  ///< short queues, flows apart; not in every kernel
  bfifo,     ///< in every kernel that has htb; bounded in bytes
};
std::string_view name_of(Leaf leaf);

/// Our root.  The kernel refuses if there is one that somebody set.
void add_root(Batch& batch, const Interface& interface);
/// Removes our root and all below it; the kernel puts its default discipline there.
void remove_root(Batch& batch, const Interface& interface);

enum class ClassRequest { add, change, remove };
void put_class(Batch& batch, const Interface& interface, std::uint32_t minor,
               const ClassRates& rates, ClassRequest request);
/// The discipline within a class of ours.
void add_leaf(Batch& batch, const Interface& interface, std::uint32_t minor, Leaf leaf);

/// A root of any kind without options, and its removal; to try what the kernel knows.
void add_plain_root(Batch& batch, const Interface& interface, const std::string& kind);
void remove_plain_root(Batch& batch, const Interface& interface);
/// A virtual interface of any kind.
void add_link(Batch& batch, const std::string& name, const std::string& kind);

}  // namespace wdmoe::shaping
