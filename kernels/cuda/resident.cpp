#include "kernels/cuda/resident.h"

#include <algorithm>
#include <cstring>

namespace wdmoe::cuda {
namespace {

constexpr std::size_t kStageBytes = std::size_t{4} << 20;

}  // namespace

Result<void> WeightLoader::open() {
  auto stage = gpu_.allocate_pinned(kStageBytes + sizeof(std::uint64_t), "stage for weights");
  if (!stage) return tl::unexpected(stage.error());
  stage_ = std::move(*stage);
  if (stage_.device == 0) {
    auto raw = gpu_.allocate(kStageBytes, "a stage for weights");
    if (!raw) return tl::unexpected(raw.error());
    raw_ = std::move(*raw);
  }
  auto count = gpu_.allocate(sizeof(std::uint64_t), "a counter");
  if (!count) return tl::unexpected(count.error());
  count_ = std::move(*count);
  const Api& api = gpu_.api();
  std::memset(stage_.data() + kStageBytes, 0, sizeof saturated_);
  WDMOE_TRY(api.check(api.cuMemcpyHtoDAsync(count_.owned.get(), stage_.data() + kStageBytes,
                                            sizeof saturated_, gpu_.stream()),
                      "copying to the device"));
  return gpu_.finish();
}

Result<Resident> WeightLoader::load(const ExpertWeights& weights) {
  Resident expert;
  expert.ffn = static_cast<std::uint32_t>(weights.gate.rows);
  const std::size_t numbers = weights.gate.rows * weights.gate.cols;
  auto gate_up = gpu_.allocate(2 * numbers * sizeof(Half), "an expert");
  if (!gate_up) return tl::unexpected(gate_up.error());
  expert.gate_up = std::move(*gate_up);
  auto down = gpu_.allocate(numbers * sizeof(Half), "an expert");
  if (!down) return tl::unexpected(down.error());
  expert.down = std::move(*down);

  const auto copied = [&]() -> Result<void> {
    WDMOE_TRY(copy(weights.gate, expert.gate_up.as<Half>()));
    WDMOE_TRY(copy(weights.up, expert.gate_up.as<Half>(numbers * sizeof(Half))));
    WDMOE_TRY(copy(weights.down, expert.down.as<Half>()));
    const Api& api = gpu_.api();
    WDMOE_TRY(api.check(api.cuMemcpyDtoHAsync(stage_.data() + kStageBytes, count_.owned.get(),
                                              sizeof saturated_, gpu_.stream()),
                        "copying from the device"));
    return gpu_.finish();
  }();
  if (!copied) return tl::unexpected(copied.error());
  std::memcpy(&saturated_, stage_.data() + kStageBytes, sizeof saturated_);
  return expert;
}

Result<void> WeightLoader::copy(const Tensor& from, Half* to) {
  const std::size_t total = from.rows * from.cols, most = kStageBytes / bytes_of(from.dtype);
  for (std::size_t done = 0; done < total; done += most)
    WDMOE_TRY(copy_step(from.data + done * bytes_of(from.dtype), from.dtype,
                        std::min(most, total - done), to + done));
  return {};
}

Result<void> WeightLoader::copy_step(const std::byte* from, DType dtype, std::size_t count,
                                     Half* to) {
  const Api& api = gpu_.api();
  const std::size_t bytes = count * bytes_of(dtype);
  std::memcpy(stage_.data(), from, bytes);
  CUdeviceptr there = stage_.device;
  if (dtype == DType::f16 || there == 0) {
    there = dtype == DType::f16 ? reinterpret_cast<CUdeviceptr>(to) : raw_.owned.get();
    WDMOE_TRY(api.check(api.cuMemcpyHtoDAsync(there, stage_.data(), bytes, gpu_.stream()),
                        "copying weights to the device"));
  }
  if (dtype != DType::f16)
    WDMOE_TRY(gpu_.launch<ConvertWeights>(
        {reinterpret_cast<const void*>(there), to, count_.as<unsigned long long>(),
         static_cast<std::uint32_t>(dtype), static_cast<std::uint32_t>(count)},
        (count + ConvertWeights::kLanes - 1) / ConvertWeights::kLanes, 1));
  return gpu_.finish();  // the stage is free again
}

}  // namespace wdmoe::cuda
