#pragma once
// What a checkpoint, shard, split or manifest holds: as JSON for scripts, as a table for people.

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "common/result.h"

namespace wdmoe::cli {

/// Describes a model directory, .safetensors file, shard, split, or manifest.json.  With `verify`
/// every file of a manifest is compared with its digest; the first difference is the error.
/// Keys: kind, path, model_id and, by kind, shape, layout, parameters, dtypes, parts, experts,
/// files.
Result<nlohmann::ordered_json> describe(const std::filesystem::path& path, bool verify);

/// The same for reading.
std::string describe_as_text(const nlohmann::ordered_json& description);

}  // namespace wdmoe::cli
