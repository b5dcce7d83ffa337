#pragma once
// How many threads a setting means.

#include <algorithm>
#include <cstddef>
#include <thread>

namespace wdmoe {

/// `wanted`, or one thread per core where that is 0.
inline std::size_t thread_count(std::size_t wanted) {
  return wanted != 0 ? wanted : std::max<std::size_t>(1, std::thread::hardware_concurrency());
}

}  // namespace wdmoe
