#pragma once
// Cuts a checkpoint into one folder per agent: only its experts, config.json and a manifest.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "common/result.h"
#include "weights/checkpoint.h"
#include "weights/convert.h"
#include "weights/manifest.h"
#include "weights/split_plan.h"

namespace wdmoe::weights {

/// Called with bytes written so far and in all, often; must not throw.
using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;

struct SplitOptions {
  std::optional<DType> dtype;  ///< of the shards; as in the source when not set
  bool force = false;          ///< write into a folder that is not empty
  Progress progress;           ///< may be empty
};

struct SplitReport {
  SplitManifest manifest;
  ConversionCounts counts;
};

/// Writes `out`/NAME/{model.safetensors, config.json, manifest.json} for every agent of the plan
/// and `out`/manifest.json last, so that an interrupted split is not mistaken for a whole one.
/// Holds a few MiB in memory.  Checks all sizes, dtypes and the disk's free space before it writes.
Result<SplitReport> write_split(const Checkpoint& checkpoint, const SplitPlan& plan,
                                const std::filesystem::path& out, const SplitOptions& options);

}  // namespace wdmoe::weights
