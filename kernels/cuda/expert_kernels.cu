// Lays the groups of expert_kernels.h on blocks and warps: a group of 256 lanes is a block, eight
// groups of 32 lanes are one.  Compiled to PTX only (kernels/cuda/CMakeLists.txt).

#include "kernels/cuda/expert_kernels.h"

namespace wdmoe::cuda {
namespace {

constexpr std::uint32_t kWarp = 32, kWarps = kBlockLanes / kWarp;

template <class Kernel>
__device__ __forceinline__ typename Kernel::Part join_warp(typename Kernel::Part part) {
  using Part = typename Kernel::Part;
  constexpr int kWords = sizeof(Part) / sizeof(float);
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    Part other;
    for (int word = 0; word < kWords; ++word)
      reinterpret_cast<float*>(&other)[word] =
          __shfl_xor_sync(0xFFFFFFFFu, reinterpret_cast<float*>(&part)[word], distance);
    part = Kernel::join(part, other);
  }
  return part;
}

template <class Kernel>
__device__ __forceinline__ typename Kernel::Part join_block(typename Kernel::Part part) {
  __shared__ typename Kernel::Part parts[kWarps];
  part = join_warp<Kernel>(part);
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = part;
  __syncthreads();
  part = parts[0];
  for (std::uint32_t warp = 1; warp < kWarps; ++warp) part = Kernel::join(part, parts[warp]);
  return part;
}

template <class Kernel>
__device__ __forceinline__ void run(const typename Kernel::Args& args) {
  static_assert(Kernel::kLanes == kWarp || Kernel::kLanes == kBlockLanes, "a warp or a block");
  if constexpr (Kernel::kLanes == kWarp) {
    const Place place{blockIdx.x * kWarps + threadIdx.x / kWarp, blockIdx.y, threadIdx.x % kWarp,
                      kWarp};
    Kernel::finish(place, args, join_warp<Kernel>(Kernel::part(place, args)));
  } else {
    const Place place{blockIdx.x, blockIdx.y, threadIdx.x, kBlockLanes};
    if constexpr (Kernel::kJoins)
      Kernel::finish(place, args, join_block<Kernel>(Kernel::part(place, args)));
    else
      Kernel::finish(place, args, Kernel::part(place, args));
  }
}

}  // namespace
}  // namespace wdmoe::cuda

using namespace wdmoe::cuda;  // the names below are looked up by their kName

#define WDMOE_KERNEL(name, Kernel)                                                          \
  extern "C" __global__ void __launch_bounds__(kBlockLanes) name(const Kernel::Args args) { \
    run<Kernel>(args);                                                                      \
  }
WDMOE_KERNEL(wdmoe_gather, Gather)
WDMOE_KERNEL(wdmoe_silu_multiply, SiluMultiply)
WDMOE_KERNEL(wdmoe_gate_up_vector, GateUpVector)
WDMOE_KERNEL(wdmoe_down_vector, DownVector)
WDMOE_KERNEL(wdmoe_scatter_add, ScatterAdd)
WDMOE_KERNEL(wdmoe_convert_weights, ConvertWeights)
