#pragma once
// Experts in the memory of the GPU: f16, gate's rows above up's so that one product makes both.
// Start-up only.

#include <cstdint>

#include "common/expert.h"
#include "kernels/cuda/gpu.h"

namespace wdmoe::cuda {

struct Resident {
  DeviceMemory gate_up;  ///< [2·ffn, hidden] f16
  DeviceMemory down;     ///< [hidden, ffn] f16
  std::uint32_t ffn = 0;
};

/// Copies weights to the device through one page-locked stage, so that the host never holds a
/// second copy; bf16 and f32 become f16 on the device.
class WeightLoader {
 public:
  explicit WeightLoader(const Gpu& gpu) : gpu_(gpu) {}
  Result<void> open();

  Result<Resident> load(const ExpertWeights& weights);
  /// Finite weights beyond ±65504, which became ±65504, since open().
  std::uint64_t saturated() const { return saturated_; }

 private:
  Result<void> copy(const Tensor& from, Half* to);
  Result<void> copy_step(const std::byte* from, DType dtype, std::size_t count, Half* to);

  const Gpu& gpu_;
  PinnedMemory stage_;  ///< kStageBytes, then the count
  DeviceMemory raw_;    ///< bf16 or f32 on their way, where the GPU does not see the stage
  DeviceMemory count_;  ///< u64
  std::uint64_t saturated_ = 0;
};

}  // namespace wdmoe::cuda
