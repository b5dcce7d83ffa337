#pragma once
// An agent's share of a model, opened: what its manifest promises, checked against what its files
// hold.  The way weights enter an agent.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/expert.h"
#include "common/result.h"
#include "weights/checkpoint.h"
#include "weights/manifest.h"

namespace wdmoe::weights {

struct ShardOptions {
  bool verify_digests = true;      ///< reads every byte once
  Access access = Access::mapped;  ///< staged: one private copy, nothing left in the page cache
};

/// One expert of a shard; the weights view memory that the Shard's checkpoint keeps.
struct HeldExpert {
  ExpertId id;
  ExpertWeights weights;
};

/// Values of the manifest and the experts, in the manifest's order (by layer, then expert).
struct Shard {
  ShardManifest manifest;
  Checkpoint checkpoint;
  std::vector<HeldExpert> experts;
  std::uint64_t weights_bytes = 0;  ///< of all experts
};

/// Opens the directory that `wdmoe split` wrote for one agent.  Every promise of its manifest is
/// checked: files and sizes, digests (if asked), each expert's presence, shape and dtype.  Errors
/// name the file, and the tensor or the expected and found digest.
Result<Shard> open_shard(const std::filesystem::path& directory, const ShardOptions& options = {});

/// Compares every file that a manifest lists with its size and digest.
Result<void> verify_files(const std::filesystem::path& directory,
                          const std::vector<FileDigest>& files);

}  // namespace wdmoe::weights
