#include "weights/manifest.h"

#include <algorithm>

#include "weights/file.h"
#include "weights/json.h"

namespace wdmoe::weights {
namespace {

constexpr const char* kShardKind = "wdmoe-shard";
constexpr const char* kSplitKind = "wdmoe-split";
constexpr std::size_t kMostExpertsHeld = shape_limits::kLayers * shape_limits::kExperts;
constexpr std::size_t kMostFiles = 64;
constexpr std::size_t kMostShards = 65'536;
constexpr std::size_t kMostName = 64;  // a device name; the wire allows more

using PrettyWriter = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void field(PrettyWriter& writer, const char* key, const std::string& value) {
  writer.Key(key);
  writer.String(value);
}

void field(PrettyWriter& writer, const char* key, std::uint64_t value) {
  writer.Key(key);
  writer.Uint64(value);
}

void write_experts(PrettyWriter& writer, const char* key, const std::vector<ExpertId>& experts) {
  writer.Key(key);
  writer.StartArray();
  for (const ExpertId id : experts) {
    writer.StartArray();
    writer.Uint64(id.layer);
    writer.Uint64(id.expert);
    writer.EndArray();
  }
  writer.EndArray();
}

/// The members that a shard has both on its own and as an entry of a split.
void write_shard_members(PrettyWriter& writer, const ShardManifest& shard) {
  field(writer, "name", shard.name);
  field(writer, "model_id", shard.model_id);
  field(writer, "hidden", shard.hidden);
  field(writer, "ffn", shard.ffn);
  field(writer, "layers", shard.layers);
  field(writer, "experts_per_layer", shard.experts_per_layer);
  field(writer, "dtype", std::string(name_of(shard.dtype)));
  write_experts(writer, "experts", shard.experts);
  writer.Key("files");
  writer.StartArray();
  for (const FileDigest& file : shard.files) {
    writer.StartObject();
    field(writer, "name", file.name);
    field(writer, "bytes", file.bytes);
    field(writer, "sha256", file.sha256);
    writer.EndObject();
  }
  writer.EndArray();
}

/// A manifest of this kind, with the members that `write_members` adds.
template <class WriteMembers>
std::string document_of(const char* kind, WriteMembers write_members) {
  rapidjson::StringBuffer buffer;
  PrettyWriter writer(buffer);
  writer.SetIndent(' ', 2);
  writer.SetFormatOptions(rapidjson::kFormatSingleLineArray);
  writer.StartObject();
  field(writer, "format", kind);
  field(writer, "version", kManifestVersion);
  write_members(writer);
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

bool is_digest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// A relative name without steps upwards: "x" or, in a split, "shard/x".
bool is_safe_name(const std::string& name, bool in_split) {
  const auto slashes = std::count(name.begin(), name.end(), '/');
  return !name.empty() && slashes <= (in_split ? 1 : 0) && name.front() != '/' &&
         name.find("..") == std::string::npos && name.find('\0') == std::string::npos;
}

Result<std::string> digest_member(const rapidjson::Value& object, const char* key) {
  auto text = text_member(object, key);
  if (text && !is_digest(*text))
    return fail(Code::bad_input, "key '" + std::string(key) + "': expected 64 hex digits");
  return text;
}

Result<std::vector<ExpertId>> read_experts(const rapidjson::Value& object, const char* key,
                                           std::size_t layers, std::size_t experts) {
  const rapidjson::Value* list = member(object, key);
  const auto bad = [key](const std::string& text) {
    return fail(Code::bad_input, "key '" + std::string(key) + "': " + text);
  };
  if (list == nullptr || !list->IsArray() || list->Size() > kMostExpertsHeld)
    return bad("expected a list of [layer, expert]");
  std::vector<ExpertId> ids;
  for (const auto& pair : list->GetArray()) {
    if (!pair.IsArray() || pair.Size() != 2 || !pair[0].IsUint64() || !pair[1].IsUint64())
      return bad("expected a list of [layer, expert]");
    if (pair[0].GetUint64() >= layers || pair[1].GetUint64() >= experts)
      return bad("[" + std::to_string(pair[0].GetUint64()) + ", " +
                 std::to_string(pair[1].GetUint64()) + "] is not in a model of " +
                 std::to_string(layers) + " layers with " + std::to_string(experts) + " experts");
    ids.push_back(expert_id(pair[0].GetUint64(), pair[1].GetUint64()));
  }
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) return bad("names an expert twice");
  return ids;
}

Result<std::vector<FileDigest>> read_files(const rapidjson::Value& object, bool in_split) {
  const rapidjson::Value* list = member(object, "files");
  if (list == nullptr || !list->IsArray() || list->Size() > kMostFiles)
    return fail(Code::bad_input, "key 'files': expected a list");
  std::vector<FileDigest> files;
  for (const auto& entry : list->GetArray()) {
    if (!entry.IsObject()) return fail(Code::bad_input, "key 'files': expected objects");
    const auto name = text_member(entry, "name");
    if (!name) return fail("key 'files'", name.error());
    if (!is_safe_name(*name, in_split))
      return fail(Code::bad_input, "key 'files': '" + *name + "' is no plain file name");
    const auto bytes = whole_number(entry, "bytes", 0, std::uint64_t{1} << 50);
    if (!bytes) return fail("file '" + *name + "'", bytes.error());
    const auto digest = digest_member(entry, "sha256");
    if (!digest) return fail("file '" + *name + "'", digest.error());
    files.push_back({*name, *bytes, *digest});
  }
  return files;
}

Result<void> read_sizes(const rapidjson::Value& object, ShardManifest& shard) {
  struct Size {
    const char* key;
    std::size_t* value;
    std::size_t most;
  };
  for (const Size& size :
       {Size{"hidden", &shard.hidden, shape_limits::kHidden},
        Size{"ffn", &shard.ffn, shape_limits::kFfn},
        Size{"layers", &shard.layers, shape_limits::kLayers},
        Size{"experts_per_layer", &shard.experts_per_layer, shape_limits::kExperts}}) {
    const auto value = whole_number(object, size.key, 1, size.most);
    if (!value) return tl::unexpected(value.error());
    *size.value = static_cast<std::size_t>(*value);
  }
  return {};
}

Result<ShardManifest> read_shard(const rapidjson::Value& object, bool in_split) {
  ShardManifest shard;
  const auto name = text_member(object, "name");
  if (!name) return tl::unexpected(name.error());
  if (name->empty() || name->size() > kMostName)
    return fail(Code::bad_input, "key 'name': expected 1 to 64 characters");
  shard.name = *name;
  const auto id = digest_member(object, "model_id");
  if (!id) return tl::unexpected(id.error());
  shard.model_id = *id;
  WDMOE_TRY(read_sizes(object, shard));
  const auto dtype_text = text_member(object, "dtype");
  if (!dtype_text) return tl::unexpected(dtype_text.error());
  const auto dtype = dtype_from(*dtype_text);
  if (!dtype) return tl::unexpected(dtype.error());
  shard.dtype = *dtype;
  auto experts = read_experts(object, "experts", shard.layers, shard.experts_per_layer);
  if (!experts) return tl::unexpected(std::move(experts).error());
  shard.experts = std::move(*experts);
  auto files = read_files(object, in_split);
  if (!files) return tl::unexpected(std::move(files).error());
  shard.files = std::move(*files);
  return shard;
}

/// Parses and checks what both kinds begin with.
Result<rapidjson::Document> parse_kind(std::string_view json, const char* kind) {
  auto document = parse_json(json);
  if (!document) return document;
  if (!document->IsObject()) return fail(Code::bad_input, "expected a JSON object");
  const auto found = text_member(*document, "format");
  if (!found) return tl::unexpected(found.error());
  if (*found != kind)
    return fail(Code::bad_input,
                "key 'format': '" + *found + "', expected '" + std::string(kind) + "'");
  const auto version = whole_number(*document, "version", 1, UINT64_MAX);
  if (!version) return tl::unexpected(version.error());
  if (*version != kManifestVersion)
    return fail(Code::unsupported, "version " + std::to_string(*version) +
                                       ", this program reads version " +
                                       std::to_string(kManifestVersion) + "; split the model anew");
  return document;
}

bool has_kind(const std::filesystem::path& directory, const char* kind) {
  const auto document = read_json_object(directory / kManifestFile);
  if (!document) return false;
  const auto found = text_member(*document, "format");
  return found && *found == kind;
}

template <class Manifest, class Parse>
Result<Manifest> read_manifest(const std::filesystem::path& directory, Parse parse) {
  const auto path = directory / kManifestFile;
  const auto text = read_text(path, kMostJsonBytes);
  if (!text) return tl::unexpected(text.error());
  Result<Manifest> manifest = parse(*text);
  if (!manifest) return fail(path.string(), std::move(manifest).error());
  return manifest;
}

}  // namespace

std::string to_json(const ShardManifest& manifest) {
  return document_of(kShardKind,
                     [&](PrettyWriter& writer) { write_shard_members(writer, manifest); });
}

std::string to_json(const SplitManifest& manifest) {
  return document_of(kSplitKind, [&](PrettyWriter& writer) {
    field(writer, "model_id", manifest.model_id);
    write_experts(writer, "on_bs", manifest.on_bs);
    writer.Key("shards");
    writer.StartArray();
    for (const ShardManifest& shard : manifest.shards) {
      writer.StartObject();
      write_shard_members(writer, shard);
      writer.EndObject();
    }
    writer.EndArray();
  });
}

Result<ShardManifest> parse_shard_manifest(std::string_view json) {
  const auto document = parse_kind(json, kShardKind);
  if (!document) return tl::unexpected(document.error());
  return read_shard(*document, false);
}

Result<SplitManifest> parse_split_manifest(std::string_view json) {
  const auto document = parse_kind(json, kSplitKind);
  if (!document) return tl::unexpected(document.error());
  SplitManifest split;
  const auto id = digest_member(*document, "model_id");
  if (!id) return tl::unexpected(id.error());
  split.model_id = *id;
  const rapidjson::Value* shards = member(*document, "shards");
  if (shards == nullptr || !shards->IsArray() || shards->Empty() || shards->Size() > kMostShards)
    return fail(Code::bad_input, "key 'shards': expected a list of shards");
  for (const auto& entry : shards->GetArray()) {
    if (!entry.IsObject()) return fail(Code::bad_input, "key 'shards': expected objects");
    auto shard = read_shard(entry, true);
    if (!shard) return fail("key 'shards'", std::move(shard).error());
    split.shards.push_back(std::move(*shard));
  }
  auto on_bs = read_experts(*document, "on_bs", split.shards.front().layers,
                            split.shards.front().experts_per_layer);
  if (!on_bs) return tl::unexpected(std::move(on_bs).error());
  split.on_bs = std::move(*on_bs);
  return split;
}

bool is_shard(const std::filesystem::path& directory) {
  return has_kind(directory, kShardKind);
}
bool is_split(const std::filesystem::path& directory) {
  return has_kind(directory, kSplitKind);
}

Result<ShardManifest> read_shard_manifest(const std::filesystem::path& directory) {
  return read_manifest<ShardManifest>(directory, parse_shard_manifest);
}

Result<SplitManifest> read_split_manifest(const std::filesystem::path& directory) {
  return read_manifest<SplitManifest>(directory, parse_split_manifest);
}

}  // namespace wdmoe::weights
