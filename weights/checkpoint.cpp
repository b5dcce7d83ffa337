#include "weights/checkpoint.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "weights/json.h"
#include "weights/safetensors.h"

namespace wdmoe::weights {
namespace {

constexpr std::size_t kMostParts = 10'000;  // the largest public checkpoints have a few hundred
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// weight_map of an index: where each tensor is said to be.
using WeightMap = std::map<std::string, std::string>;

/// A plain file name: nothing that leads out of the checkpoint's directory.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

Result<WeightMap> read_index(const std::filesystem::path& path) {
  const auto document = read_json_object(path);
  if (!document) return tl::unexpected(document.error());
  const rapidjson::Value* entries = member(*document, "weight_map");
  if (entries == nullptr || !entries->IsObject() || entries->MemberCount() == 0)
    return fail(Code::bad_input, path.string() + ": key 'weight_map': expected a non-empty object");
  WeightMap map;
  for (const auto& entry : entries->GetObject()) {
    const std::string tensor(text_of(entry.name));
    if (!entry.value.IsString() || !is_plain_name(std::string(text_of(entry.value))))
      return fail(Code::bad_input, path.string() + ": tensor '" + tensor +
                                       "': expected the plain name of a file in this directory");
    map.emplace(tensor, text_of(entry.value));
  }
  return map;
}

/// What to open at `path`: the safetensors files and, when there is an index, its promises.
struct Plan {
  std::vector<std::filesystem::path> files;
  WeightMap promised;
};

Result<Plan> plan_for(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    if (std::filesystem::exists(path, ignored) && path.extension() != ".safetensors")
      return fail(Code::bad_input,
                  path.string() + ": expected a model directory or a .safetensors file");
    return Plan{{path}, {}};
  }
  if (std::filesystem::exists(path / kSingle, ignored)) return Plan{{path / kSingle}, {}};
  if (!std::filesystem::exists(path / kIndex, ignored))
    return fail(Code::not_found, path.string() + ": holds neither " + kSingle + " nor " + kIndex +
                                     "; expected a Hugging Face model directory in safetensors");
  auto map = read_index(path / kIndex);
  if (!map) return tl::unexpected(std::move(map).error());
  std::set<std::string> names;
  for (const auto& [tensor, file] : *map) names.insert(file);
  if (names.size() > kMostParts)
    return fail(Code::limit, (path / kIndex).string() + ": names " + std::to_string(names.size()) +
                                 " files, at most " + std::to_string(kMostParts) + " are allowed");
  Plan plan;
  for (const std::string& name : names) plan.files.push_back(path / name);
  plan.promised = std::move(*map);
  return plan;
}

}  // namespace

struct Checkpoint::Contents {
  std::filesystem::path path;
  std::vector<std::pair<std::filesystem::path, FileBytes>> files;
  std::map<std::string, NamedTensor> tensors;
  std::map<std::string, std::string> metadata;

  /// Maps one file and takes in its tensors.
  Result<void> add(const std::filesystem::path& file, Access access) {
    auto mapped = FileBytes::open(file, access);
    if (!mapped) return tl::unexpected(std::move(mapped).error());
    const Bytes bytes = mapped->bytes();
    auto header = parse_safetensors(bytes, bytes.size());
    if (!header) return fail(file.string(), std::move(header).error());
    for (TensorEntry& entry : header->tensors) {
      NamedTensor tensor{entry.name, entry.dtype, std::move(entry.shape),
                         bytes.subspan(entry.begin, entry.end - entry.begin)};
      if (!tensors.emplace(entry.name, std::move(tensor)).second)
        return fail(Code::bad_input, file.string() + ": tensor '" + entry.name +
                                         "' is also in another file of this checkpoint");
    }
    metadata.merge(header->metadata);
    files.emplace_back(file, std::move(*mapped));
    return {};
  }
};

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path, Access access) {
  const auto plan = plan_for(path);
  if (!plan) return tl::unexpected(plan.error());
  auto contents = std::make_shared<Contents>();
  contents->path = path;
  for (const std::filesystem::path& file : plan->files) WDMOE_TRY(contents->add(file, access));
  for (const auto& [tensor, file] : plan->promised)
    if (contents->tensors.count(tensor) == 0)
      return fail(Code::bad_input, (path / file).string() + ": tensor '" + tensor +
                                       "' is missing, although " + kIndex + " puts it there");
  Checkpoint checkpoint;
  checkpoint.contents_ = std::move(contents);
  return checkpoint;
}

const NamedTensor* Checkpoint::find(const std::string& name) const {
  const auto found = contents_->tensors.find(name);
  return found == contents_->tensors.end() ? nullptr : &found->second;
}

const std::map<std::string, NamedTensor>& Checkpoint::tensors() const {
  return contents_->tensors;
}

const std::map<std::string, std::string>& Checkpoint::metadata() const {
  return contents_->metadata;
}

void Checkpoint::forget(Bytes data) const {
  for (const auto& [path, file] : contents_->files) {
    const Bytes whole = file.bytes();
    if (data.data() >= whole.data() && data.data() < whole.data() + whole.size()) file.forget(data);
  }
}

const std::filesystem::path& Checkpoint::path() const {
  return contents_->path;
}

std::filesystem::path Checkpoint::directory() const {
  std::error_code ignored;
  if (std::filesystem::is_directory(contents_->path, ignored)) return contents_->path;
  const auto parent = contents_->path.parent_path();
  return parent.empty() ? "." : parent;
}

std::vector<std::filesystem::path> Checkpoint::files() const {
  std::vector<std::filesystem::path> paths;
  for (const auto& [path, bytes] : contents_->files) paths.push_back(path);
  return paths;
}

Bytes Checkpoint::file_bytes(const std::filesystem::path& file) const {
  for (const auto& [path, mapped] : contents_->files)
    if (path == file) return mapped.bytes();
  return {};
}

Result<Tensor> Checkpoint::matrix(const std::string& name, std::size_t rows,
                                  std::size_t cols) const {
  const NamedTensor* tensor = find(name);
  if (tensor == nullptr)
    return fail(Code::not_found, path().string() + ": tensor '" + name + "' is missing");
  const auto dtype = weight_dtype(tensor->dtype);
  if (!dtype)
    return fail(Code::unsupported, path().string() + ": tensor '" + name + "' is " + tensor->dtype +
                                       ", expected F32, F16 or BF16");
  const auto& shape = tensor->shape;
  const bool fits = (shape.size() == 2 && shape[0] == rows && shape[1] == cols) ||
                    (shape.size() == 1 && rows == 1 && shape[0] == cols);
  if (!fits)
    return fail(Code::bad_input, path().string() + ": tensor '" + name + "' is " +
                                     shape_text(shape) + ", expected [" + std::to_string(rows) +
                                     ", " + std::to_string(cols) + "]");
  return Tensor{tensor->data.data(), *dtype, rows, cols};
}

}  // namespace wdmoe::weights
