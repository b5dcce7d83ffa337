#pragma once
// manifest.json: what a shard is (one agent's experts) and what a split is (all shards of a model).
// Written by `wdmoe split`; read by agents, `wdmoe inspect` and model_id().

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/expert.h"
#include "common/result.h"
#include "common/tensor.h"
#include "weights/model_shape.h"

namespace wdmoe::weights {

constexpr std::uint64_t kManifestVersion = 1;
constexpr const char* kManifestFile = "manifest.json";

struct FileDigest {
  std::string name;  ///< relative to the manifest; plain in a shard, "agent-0/…" in a split
  std::uint64_t bytes = 0;
  std::string sha256;  ///< 64 lower-case hex digits
};

/// One agent's part.  `dtype` is that of all its weights; an expert's tensors are gate and up
/// [ffn, hidden] and down [hidden, ffn].
struct ShardManifest {
  std::string name;
  std::string model_id;
  std::size_t hidden = 0, ffn = 0;
  std::size_t layers = 0, experts_per_layer = 0;  ///< of the whole model
  DType dtype = DType::f16;
  std::vector<ExpertId> experts;  ///< sorted, no duplicates
  std::vector<FileDigest> files;  ///< config.json, model.safetensors
};

/// All parts.
struct SplitManifest {
  std::string model_id;
  std::vector<ShardManifest> shards;  ///< each shard's files as "name/file", with its manifest
  std::vector<ExpertId> on_bs;        ///< experts that stay at the base station
};

std::string to_json(const ShardManifest& manifest);
std::string to_json(const SplitManifest& manifest);

/// Checked: kind, version, every bound, experts within the model, plain file names.  Errors name
/// the key.
Result<ShardManifest> parse_shard_manifest(std::string_view json);
Result<SplitManifest> parse_split_manifest(std::string_view json);

/// Whether `directory`'s manifest.json says it is a shard (or a split); false when there is none.
bool is_shard(const std::filesystem::path& directory);
bool is_split(const std::filesystem::path& directory);

/// From `directory`/manifest.json; errors name the file.
Result<ShardManifest> read_shard_manifest(const std::filesystem::path& directory);
Result<SplitManifest> read_split_manifest(const std::filesystem::path& directory);

}  // namespace wdmoe::weights
