#include "weights/shard.h"

#include <algorithm>
#include <system_error>

#include "weights/mixtral_names.h"
#include "weights/sha256.h"

namespace wdmoe::weights {
namespace {

constexpr const char* kWeightsFile = "model.safetensors";

std::string start_of(const std::string& digest) {
  return digest.substr(0, 12) + "…";
}

/// Size first (cheap, and truncation is the usual fault), then the digest of `bytes`.
Result<void> compare(const std::filesystem::path& path, const FileDigest& expected, Bytes bytes,
                     bool digest) {
  if (bytes.size() != expected.bytes)
    return fail(Code::bad_input, path.string() + ": " + std::to_string(bytes.size()) +
                                     " bytes, but the manifest says " +
                                     std::to_string(expected.bytes) + "; copy the shard anew");
  if (!digest) return {};
  Sha256 hash;
  hash.add(bytes);
  const std::string found = hash.hex();
  if (found == expected.sha256) return {};
  return fail(Code::bad_input, path.string() + ": its SHA-256 is " + start_of(found) +
                                   ", but the manifest says " + start_of(expected.sha256) +
                                   "; the file is damaged or not of this shard, copy it anew");
}

/// Every listed file, the weights as they already lie in memory (so that they are read once).
Result<void> check_files(const std::filesystem::path& directory, const Shard& shard, bool digests) {
  for (const FileDigest& file : shard.manifest.files) {
    const auto path = directory / file.name;
    if (file.name == kWeightsFile) {
      WDMOE_TRY(compare(path, file, shard.checkpoint.file_bytes(path), digests));
      continue;
    }
    const auto other = FileBytes::open(path, Access::mapped);
    if (!other) return tl::unexpected(other.error());
    WDMOE_TRY(compare(path, file, other->bytes(), digests));
  }
  return {};
}

Result<HeldExpert> take_expert(const Shard& shard, ExpertId id) {
  const ShardManifest& manifest = shard.manifest;
  const auto weights =
      find_expert(shard.checkpoint, id.layer, id.expert, {manifest.hidden, manifest.ffn});
  if (!weights) return fail("an expert of the manifest", weights.error());
  for (const Tensor& tensor : {weights->gate, weights->up, weights->down})
    if (tensor.dtype != manifest.dtype)
      return fail(Code::bad_input,
                  shard.checkpoint.path().string() + ": expert " + std::to_string(id.expert) +
                      " of layer " + std::to_string(id.layer) + " is " +
                      std::string(name_of(tensor.dtype)) + ", but the manifest says " +
                      std::string(name_of(manifest.dtype)));
  return HeldExpert{id, *weights};
}

}  // namespace

Result<void> verify_files(const std::filesystem::path& directory,
                          const std::vector<FileDigest>& files) {
  for (const FileDigest& file : files) {
    const auto path = directory / file.name;
    const auto bytes = FileBytes::open(path, Access::mapped);
    if (!bytes) return tl::unexpected(bytes.error());
    WDMOE_TRY(compare(path, file, bytes->bytes(), true));
  }
  return {};
}

Result<Shard> open_shard(const std::filesystem::path& directory, const ShardOptions& options) {
  std::error_code ignored;
  if (!std::filesystem::exists(directory / kManifestFile, ignored))
    return fail(Code::not_found, directory.string() + ": holds no " + kManifestFile +
                                     "; expected a shard made by `wdmoe split`");
  auto manifest = read_shard_manifest(directory);
  if (!manifest) return tl::unexpected(std::move(manifest).error());
  const auto& files = manifest->files;
  if (std::none_of(files.begin(), files.end(),
                   [](const FileDigest& file) { return file.name == kWeightsFile; }))
    return fail(Code::bad_input, (directory / kManifestFile).string() + ": does not list " +
                                     kWeightsFile + "; split the model anew");
  // Sizes come before contents, so that a truncated copy is called that, not a bad tensor.
  for (const FileDigest& file : files) {
    const auto bytes = std::filesystem::file_size(directory / file.name, ignored);
    if (!ignored && bytes != file.bytes)
      return fail(Code::bad_input, (directory / file.name).string() + ": " + std::to_string(bytes) +
                                       " bytes, but the manifest says " +
                                       std::to_string(file.bytes) + "; copy the shard anew");
  }
  auto checkpoint = Checkpoint::open(directory / kWeightsFile, options.access);
  if (!checkpoint) return tl::unexpected(std::move(checkpoint).error());

  Shard shard{std::move(*manifest), std::move(*checkpoint), {}, 0};
  WDMOE_TRY(check_files(directory, shard, options.verify_digests));
  for (const ExpertId id : shard.manifest.experts) {
    auto expert = take_expert(shard, id);
    if (!expert) return tl::unexpected(std::move(expert).error());
    for (const Tensor& tensor : {expert->weights.gate, expert->weights.up, expert->weights.down})
      shard.weights_bytes += tensor.size_bytes();
    shard.experts.push_back(*expert);
  }
  return shard;
}

}  // namespace wdmoe::weights
