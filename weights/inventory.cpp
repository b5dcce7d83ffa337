#include "weights/inventory.h"

#include <system_error>

#include "weights/json.h"
#include "weights/safetensors.h"

namespace wdmoe::weights {
namespace {

bool has(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

void add(Amount& amount, std::uint64_t parameters, std::uint64_t bytes) {
  ++amount.tensors;
  amount.parameters += parameters;
  amount.bytes += bytes;
}

/// Whether a tokenizer.json component, or one of a Sequence's, has that type.
bool has_type(const rapidjson::Value* component, std::string_view type) {
  if (component == nullptr || !component->IsObject()) return false;
  const rapidjson::Value* own = member(*component, "type");
  if (own != nullptr && own->IsString() && text_of(*own) == type) return true;
  for (const char* key : {"pretokenizers", "decoders", "normalizers"}) {
    const rapidjson::Value* list = member(*component, key);
    if (list == nullptr || !list->IsArray()) continue;
    for (const auto& element : list->GetArray())
      if (has_type(&element, type)) return true;  // depth bounded by parse_json()
  }
  return false;
}

std::string kind_of(const rapidjson::Document& tokenizer) {
  const rapidjson::Value* model = member(tokenizer, "model");
  if (model == nullptr || !model->IsObject()) return "tokenizer.json without a model";
  const rapidjson::Value* type = member(*model, "type");
  std::string kind =
      type != nullptr && type->IsString() ? std::string(text_of(*type)) : std::string("BPE");
  const rapidjson::Value* fallback = member(*model, "byte_fallback");
  if (fallback != nullptr && fallback->IsBool() && fallback->GetBool()) kind += ", byte fallback";
  if (has_type(member(tokenizer, "pre_tokenizer"), "ByteLevel") ||
      has_type(member(tokenizer, "decoder"), "ByteLevel"))
    kind += ", byte-level";
  const rapidjson::Value* vocabulary = member(*model, "vocab");
  if (vocabulary != nullptr && vocabulary->IsObject())
    kind += ", " + std::to_string(vocabulary->MemberCount()) + " tokens";
  return kind;
}

}  // namespace

const char* name_of(Part part) {
  switch (part) {
    case Part::embedding:
      return "embedding";
    case Part::attention:
      return "attention";
    case Part::norm:
      return "norms";
    case Part::gate:
      return "gates";
    case Part::expert:
      return "experts";
    case Part::head:
      return "head";
    case Part::other:
      return "other";
  }
  return "other";
}

Part part_of(const std::string& name) {
  if (has(name, ".block_sparse_moe.experts.") || has(name, ".mlp.experts.")) return Part::expert;
  if (has(name, ".block_sparse_moe.gate.") || has(name, ".mlp.gate.")) return Part::gate;
  if (has(name, ".self_attn.")) return Part::attention;
  if (has(name, "norm.weight")) return Part::norm;
  if (has(name, "embed_tokens.")) return Part::embedding;
  if (has(name, "lm_head.")) return Part::head;
  return Part::other;
}

Inventory take_inventory(const Checkpoint& checkpoint) {
  Inventory inventory;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const std::uint64_t parameters = element_count(tensor.shape).value_or(0);
    const std::uint64_t bytes = tensor.data.size();
    add(inventory.total, parameters, bytes);
    add(inventory.parts[part_of(name)], parameters, bytes);
    add(inventory.dtypes[tensor.dtype], parameters, bytes);
  }
  return inventory;
}

std::string tokenizer_kind(const std::filesystem::path& directory) {
  std::error_code ignored;
  if (std::filesystem::exists(directory / "tokenizer.json", ignored)) {
    const auto tokenizer = read_json_object(directory / "tokenizer.json");
    return tokenizer ? kind_of(*tokenizer) : "unreadable: " + tokenizer.error().text;
  }
  if (std::filesystem::exists(directory / "tokenizer.model", ignored)) return "SentencePiece model";
  return "none";
}

}  // namespace wdmoe::weights
