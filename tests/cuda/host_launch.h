#pragma once
// Runs a kernel of kernels/cuda/expert_kernels.h on the host, lane by lane: every lane's part, the
// fold of a group by the same exchange of neighbours as on the GPU, every lane's finish.

#include <array>
#include <cstdint>

#include "kernels/cuda/device.h"

namespace wdmoe::cuda::test {

template <class Kernel>
void launch_group(const typename Kernel::Args& args, std::uint32_t x, std::uint32_t y) {
  constexpr std::uint32_t kLanes = Kernel::kLanes, kWarp = 32;
  typename Kernel::Part joined{};
  if constexpr (Kernel::kJoins) {
    for (std::uint32_t first = 0; first < kLanes; first += kWarp) {
      std::array<typename Kernel::Part, kWarp> parts, others;
      for (std::uint32_t lane = 0; lane < kWarp; ++lane)
        parts[lane] = Kernel::part({x, y, first + lane, kLanes}, args);
      for (std::uint32_t distance = kWarp / 2; distance > 0; distance /= 2) {
        others = parts;
        for (std::uint32_t lane = 0; lane < kWarp; ++lane)
          parts[lane] = Kernel::join(others[lane], others[lane ^ distance]);
      }
      joined = first == 0 ? parts[0] : Kernel::join(joined, parts[0]);
    }
  }
  for (std::uint32_t lane = 0; lane < kLanes; ++lane)
    Kernel::finish({x, y, lane, kLanes}, args, joined);
}

/// All groups of a grid [groups_x, groups_y], last first: no order may matter.
template <class Kernel>
void launch(const typename Kernel::Args& args, std::uint32_t groups_x, std::uint32_t groups_y) {
  for (std::uint32_t y = groups_y; y-- > 0;)
    for (std::uint32_t x = groups_x; x-- > 0;) launch_group<Kernel>(args, x, y);
}

}  // namespace wdmoe::cuda::test
