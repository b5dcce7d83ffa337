#pragma once
// Counts what a test program takes from the heap: linking `wdmoe_test_allocations` replaces
// operator new and delete.

#include <cstddef>

namespace wdmoe::test {

/// Calls of operator new, every form of it, since the program started; of all threads.
std::size_t allocations();

/// The same, of the calling thread alone: for programs in which other threads play the peers.
std::size_t allocations_of_this_thread();

}  // namespace wdmoe::test
