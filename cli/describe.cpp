#include "cli/describe.h"

#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/progress.h"
#include "weights/checkpoint.h"
#include "weights/inventory.h"
#include "weights/manifest.h"
#include "weights/mixtral_names.h"
#include "weights/model_shape.h"
#include "weights/sha256.h"
#include "weights/shard.h"

namespace wdmoe::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

ordered_json amount_json(const weights::Amount& amount) {
  return {{"tensors", amount.tensors}, {"parameters", amount.parameters}, {"bytes", amount.bytes}};
}

ordered_json files_json(const std::vector<weights::FileDigest>& files) {
  ordered_json list = ordered_json::array();
  for (const auto& file : files)
    list.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  return list;
}

ordered_json experts_json(const std::vector<ExpertId>& experts) {
  ordered_json list = ordered_json::array();
  for (const ExpertId id : experts) list.push_back({id.layer, id.expert});
  return list;
}

ordered_json manifest_json(const weights::ShardManifest& shard) {
  const std::uint64_t expert_bytes =
      std::uint64_t{3} * shard.hidden * shard.ffn * bytes_of(shard.dtype);
  return {{"name", shard.name},
          {"model_id", shard.model_id},
          {"hidden", shard.hidden},
          {"ffn", shard.ffn},
          {"layers", shard.layers},
          {"experts_per_layer", shard.experts_per_layer},
          {"dtype", std::string(name_of(shard.dtype))},
          {"expert_bytes", expert_bytes},
          {"experts_bytes", expert_bytes * shard.experts.size()},
          {"experts", experts_json(shard.experts)},
          {"files", files_json(shard.files)}};
}

void add_inventory(const weights::Checkpoint& checkpoint, ordered_json& document) {
  const weights::Inventory inventory = weights::take_inventory(checkpoint);
  document["total"] = amount_json(inventory.total);
  for (const auto& [dtype, amount] : inventory.dtypes)
    document["dtypes"][dtype] = amount_json(amount);
  for (const weights::Part part : weights::kParts)
    if (const auto found = inventory.parts.find(part); found != inventory.parts.end())
      document["parts"][name_of(part)] = amount_json(found->second);
}

const char* layout_name(weights::Layout layout) {
  switch (layout) {
    case weights::Layout::none:
      return "no experts";
    case weights::Layout::v4:
      return "v4 (a tensor per expert)";
    case weights::Layout::v5:
      return "v5 (experts fused per layer)";
  }
  return "?";
}

/// Sizes from config.json, and what follows from them and the tensors.
void add_shape(const weights::ModelShape& shape, ordered_json& document) {
  document["shape"] = {{"layers", shape.layers},
                       {"hidden", shape.hidden},
                       {"ffn", shape.ffn},
                       {"experts", shape.experts},
                       {"experts_per_token", shape.experts_per_token},
                       {"heads", shape.heads},
                       {"kv_heads", shape.kv_heads},
                       {"head_dim", shape.head_dim},
                       {"vocabulary", shape.vocabulary},
                       {"tied_embeddings", shape.tied_embeddings}};
  const auto all_experts = document["parts"].value("experts", ordered_json::object());
  const std::uint64_t parameters = all_experts.value("parameters", std::uint64_t{0});
  const std::uint64_t bytes = all_experts.value("bytes", std::uint64_t{0});
  const std::uint64_t experts = std::uint64_t{shape.layers} * shape.experts;
  const std::uint64_t total = document["total"]["parameters"];
  document["active_parameters"] =
      total - parameters + parameters / experts * shape.layers * shape.experts_per_token;
  document["bytes_per_expert"] = bytes / experts;
  document["expert_bytes_per_layer"] = bytes / shape.layers;
}

Result<ordered_json> describe_checkpoint(const fs::path& path, bool verify) {
  const auto checkpoint = weights::Checkpoint::open(path);
  if (!checkpoint) return tl::unexpected(checkpoint.error());
  ordered_json document{{"kind", "checkpoint"}, {"path", path.string()}};
  add_inventory(*checkpoint, document);
  document["layout"] = layout_name(weights::layout_of(*checkpoint));
  ordered_json files = ordered_json::array();
  for (const fs::path& file : checkpoint->files()) {
    const Bytes bytes = checkpoint->file_bytes(file);
    ordered_json entry{{"name", file.filename().string()}, {"bytes", bytes.size()}};
    if (verify) {
      weights::Sha256 digest;
      digest.add(bytes);
      entry["sha256"] = digest.hex();
    }
    files.push_back(entry);
  }
  document["files"] = files;

  std::error_code ignored;
  const fs::path directory = checkpoint->directory();
  if (!fs::exists(directory / "config.json", ignored)) return document;  // a lone .safetensors file
  const auto shape = weights::read_model_shape(directory);
  if (!shape) return tl::unexpected(shape.error());
  add_shape(*shape, document);
  document["tokenizer"] = weights::tokenizer_kind(directory);
  const auto id = weights::model_id(*checkpoint);
  if (!id) return tl::unexpected(id.error());
  document["model_id"] = *id;
  return document;
}

Result<ordered_json> describe_shard(const fs::path& directory, bool verify) {
  const auto shard = weights::open_shard(directory, {verify, weights::Access::mapped});
  if (!shard) return tl::unexpected(shard.error());
  ordered_json document{{"kind", "shard"}, {"path", directory.string()}};
  document.update(manifest_json(shard->manifest));
  add_inventory(shard->checkpoint, document);
  document["verified"] = verify;
  return document;
}

Result<ordered_json> describe_split(const fs::path& directory, bool verify) {
  const auto split = weights::read_split_manifest(directory);
  if (!split) return tl::unexpected(split.error());
  ordered_json document{{"kind", "split"},
                        {"path", directory.string()},
                        {"model_id", split->model_id},
                        {"on_bs", experts_json(split->on_bs)},
                        {"shards", ordered_json::array()}};
  for (const auto& shard : split->shards) {
    if (verify) WDMOE_TRY(weights::verify_files(directory, shard.files));
    document["shards"].push_back(manifest_json(shard));
  }
  document["verified"] = verify;
  return document;
}

/// A manifest.json named itself: what it says, whether or not its files are there.
Result<ordered_json> describe_manifest(const fs::path& path, bool verify) {
  const fs::path directory = path.parent_path().empty() ? "." : path.parent_path();
  if (weights::is_split(directory)) return describe_split(directory, verify);
  const auto manifest = weights::read_shard_manifest(directory);
  if (!manifest) return tl::unexpected(manifest.error());
  if (verify) WDMOE_TRY(weights::verify_files(directory, manifest->files));
  ordered_json document{{"kind", "manifest"}, {"path", path.string()}};
  document.update(manifest_json(*manifest));
  document["verified"] = verify;
  return document;
}

std::string line(const char* label, const std::string& value) {
  return fmt::format("{:<18}{}\n", label, value);
}

/// "1.61 G", "12.3 M", "900": parameter counts.
std::string human_count(std::uint64_t count) {
  if (count >= 1'000'000'000) return fmt::format("{:.2f} G", static_cast<double>(count) / 1e9);
  if (count >= 1'000'000) return fmt::format("{:.2f} M", static_cast<double>(count) / 1e6);
  return std::to_string(count);
}

std::string amounts_text(const char* title, const ordered_json& amounts) {
  std::string text =
      fmt::format("\n{:<18}{:>10}{:>14}{:>14}\n", title, "tensors", "parameters", "bytes");
  for (const auto& [name, amount] : amounts.items())
    text += fmt::format("{:<18}{:>10}{:>14}{:>14}\n", name, amount["tensors"].get<std::uint64_t>(),
                        human_count(amount["parameters"]), human_bytes(amount["bytes"]));
  return text;
}

std::string shape_text(const ordered_json& document) {
  const ordered_json& shape = document["shape"];
  const auto size = [&shape](const char* key) { return shape[key].get<std::uint64_t>(); };
  return line("layers", fmt::format("{}", size("layers"))) +
         line("experts", fmt::format("{} per layer, {} per token", size("experts"),
                                     size("experts_per_token"))) +
         line("hidden, ffn", fmt::format("{}, {}", size("hidden"), size("ffn"))) +
         line("heads", fmt::format("{} query, {} key/value, {} wide", size("heads"),
                                   size("kv_heads"), size("head_dim"))) +
         line("vocabulary",
              fmt::format("{}{}", size("vocabulary"),
                          shape["tied_embeddings"].get<bool>() ? ", tied head" : "")) +
         line("parameters", fmt::format("{} in all, {} active per token",
                                        human_count(document["total"]["parameters"]),
                                        human_count(document["active_parameters"]))) +
         line("one expert", human_bytes(document["bytes_per_expert"])) +
         line("a layer's experts", human_bytes(document["expert_bytes_per_layer"]));
}

/// "0: 0 1, 1: 0 2": layer: experts.
std::string experts_text(const ordered_json& experts) {
  std::string text;
  std::int64_t layer = -1;
  for (const auto& id : experts) {
    if (id[0].get<std::int64_t>() != layer) {
      layer = id[0];
      text += fmt::format("{}{}:", text.empty() ? "" : ", ", layer);
    }
    text += fmt::format(" {}", id[1].get<std::uint64_t>());
  }
  return text.empty() ? "none" : text;
}

std::string files_text(const ordered_json& files) {
  std::string text = fmt::format("\n{:<34}{:>12}  sha256\n", "file", "bytes");
  for (const auto& file : files)
    text += fmt::format("{:<34}{:>12}  {}\n", file["name"].get<std::string>(),
                        human_bytes(file["bytes"]), file.value("sha256", "(ask with --verify)"));
  return text;
}

std::string shard_text(const ordered_json& shard) {
  return line("name", shard["name"]) +
         line("model size",
              fmt::format("{} layers, {} experts each", shard["layers"].get<std::uint64_t>(),
                          shard["experts_per_layer"].get<std::uint64_t>())) +
         line("hidden, ffn", fmt::format("{}, {}", shard["hidden"].get<std::uint64_t>(),
                                         shard["ffn"].get<std::uint64_t>())) +
         line("dtype", shard["dtype"]) + line("one expert", human_bytes(shard["expert_bytes"])) +
         line("experts held",
              fmt::format("{}, {}", shard["experts"].size(), human_bytes(shard["experts_bytes"]))) +
         line("layer: experts", experts_text(shard["experts"]));
}

}  // namespace

Result<ordered_json> describe(const fs::path& path, bool verify) {
  if (path.filename() == weights::kManifestFile) return describe_manifest(path, verify);
  if (weights::is_shard(path)) return describe_shard(path, verify);
  if (weights::is_split(path)) return describe_split(path, verify);
  return describe_checkpoint(path, verify);
}

std::string describe_as_text(const ordered_json& document) {
  std::string text = line("kind", document["kind"]) + line("path", document["path"]);
  if (document.contains("model_id")) text += line("model id", document["model_id"]);
  if (document.contains("layout")) text += line("layout", document["layout"]);
  if (document.contains("shape")) text += shape_text(document);
  if (document.contains("tokenizer")) text += line("tokenizer", document["tokenizer"]);
  if (document.contains("name")) text += shard_text(document);
  if (document.contains("dtypes")) text += amounts_text("dtype", document["dtypes"]);
  if (document.contains("parts")) text += amounts_text("part", document["parts"]);
  if (document.contains("files")) text += files_text(document["files"]);
  if (document.contains("on_bs")) text += line("at base station", experts_text(document["on_bs"]));
  if (document.contains("shards"))
    for (const auto& shard : document["shards"])
      text += fmt::format("\n{}{}", shard_text(shard), files_text(shard["files"]));
  if (document.value("verified", false)) text += "\nevery file matches its digest\n";
  return text;
}

}  // namespace wdmoe::cli
