#include "weights/safetensors.h"

#include <algorithm>
#include <set>

#include "weights/json.h"

namespace wdmoe::weights {
namespace {

constexpr std::size_t kSizeField = 8;
constexpr std::size_t kMostDimensions = 16;
constexpr std::uint64_t kDataAlignment = 64;  // a cache line; the format asks for no more than 1

std::optional<std::uint64_t> bits_of(std::string_view dtype) {
  struct Known {
    std::string_view name;
    std::uint64_t bits;
  };
  static constexpr Known kKnown[] = {
      {"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
      {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
      {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
      {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
  };
  for (const Known& known : kKnown)
    if (known.name == dtype) return known.bits;
  return std::nullopt;
}

Result<std::uint64_t> header_bytes(Bytes head, std::uint64_t file_bytes) {
  if (head.size() < kSizeField)
    return fail(Code::bad_input, "not a safetensors file: " + std::to_string(file_bytes) +
                                     " bytes, too short for the header's size");
  std::uint64_t size = 0;
  for (std::size_t i = kSizeField; i-- > 0;) size = size << 8 | std::to_integer<unsigned>(head[i]);
  if (size > kMostHeaderBytes)
    return fail(Code::limit, "not a safetensors file: header of " + std::to_string(size) +
                                 " bytes, at most " + std::to_string(kMostHeaderBytes) +
                                 " are allowed");
  if (size > file_bytes - kSizeField || size > head.size() - kSizeField)
    return fail(Code::bad_input, "truncated: header of " + std::to_string(size) +
                                     " bytes in a file of " + std::to_string(file_bytes));
  return size;
}

Result<void> read_metadata(const rapidjson::Value& value, SafetensorsHeader& header) {
  if (!value.IsObject()) return fail(Code::bad_input, "__metadata__: expected an object");
  for (const auto& entry : value.GetObject()) {
    if (!entry.value.IsString())
      return fail(Code::bad_input,
                  "__metadata__ key '" + std::string(text_of(entry.name)) + "': expected a string");
    header.metadata.emplace(text_of(entry.name), text_of(entry.value));
  }
  return {};
}

/// A list of whole numbers, at most `most` of them.
std::optional<std::vector<std::uint64_t>> numbers(const rapidjson::Value* value, std::size_t most) {
  if (value == nullptr || !value->IsArray() || value->Size() > most) return std::nullopt;
  std::vector<std::uint64_t> list;
  for (const auto& element : value->GetArray()) {
    if (!element.IsUint64()) return std::nullopt;
    list.push_back(element.GetUint64());
  }
  return list;
}

/// Offsets of the result still count from the start of the data.
Result<TensorEntry> read_entry(std::string name, const rapidjson::Value& value) {
  const auto bad = [&name](const std::string& text) {
    return fail(Code::bad_input, "tensor '" + name + "': " + text);
  };
  if (!value.IsObject()) return bad("expected an object");
  for (const auto& entry : value.GetObject()) {
    const std::string_view key = text_of(entry.name);
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      return bad("unknown key '" + std::string(key) + "'");
  }
  const auto dtype = text_member(value, "dtype");
  if (!dtype) return bad(dtype.error().text);
  if (!bits_of(*dtype)) return bad("unknown dtype '" + *dtype + "'");
  auto shape = numbers(member(value, "shape"), kMostDimensions);
  if (!shape) return bad("shape: expected at most 16 whole numbers");
  const auto offsets = numbers(member(value, "data_offsets"), 2);
  if (!offsets || offsets->size() != 2) return bad("data_offsets: expected [begin, end]");

  TensorEntry entry{std::move(name), *dtype, std::move(*shape), (*offsets)[0], (*offsets)[1]};
  const auto bytes = tensor_bytes(entry.dtype, entry.shape);
  if (!bytes)
    return fail(Code::bad_input, "tensor '" + entry.name + "': " + entry.dtype + " " +
                                     shape_text(entry.shape) + " has no size in bytes");
  if (entry.end < entry.begin || entry.end - entry.begin != *bytes)
    return fail(Code::bad_input,
                "tensor '" + entry.name + "': data_offsets [" + std::to_string(entry.begin) + ", " +
                    std::to_string(entry.end) + "], but " + entry.dtype + " " +
                    shape_text(entry.shape) + " is " + std::to_string(*bytes) + " bytes");
  return entry;
}

/// Sorts by offset and demands: no gap, no overlap, and an end exactly at the file's end.
Result<void> check_layout(std::vector<TensorEntry>& tensors, std::uint64_t data_start,
                          std::uint64_t file_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  const std::uint64_t data_bytes = file_bytes - data_start;
  std::uint64_t expected = 0;
  for (TensorEntry& tensor : tensors) {
    if (tensor.begin != expected)
      return fail(Code::bad_input, "tensor '" + tensor.name + "': begins at byte " +
                                       std::to_string(tensor.begin) + " of the data, expected " +
                                       std::to_string(expected) + " (gap or overlap)");
    if (tensor.end > data_bytes)
      return fail(Code::bad_input, "truncated: tensor '" + tensor.name + "' ends at byte " +
                                       std::to_string(tensor.end) + " of the data, which has " +
                                       std::to_string(data_bytes));
    expected = tensor.end;
    tensor.begin += data_start;
    tensor.end += data_start;
  }
  if (expected == data_bytes) return {};
  return fail(Code::bad_input, std::to_string(data_bytes - expected) +
                                   " bytes behind the last tensor that no tensor describes");
}

void write_entry(rapidjson::Writer<rapidjson::StringBuffer>& writer, const TensorEntry& tensor,
                 std::uint64_t begin, std::uint64_t end) {
  writer.Key(tensor.name.data(), static_cast<rapidjson::SizeType>(tensor.name.size()));
  writer.StartObject();
  writer.Key("dtype");
  writer.String(tensor.dtype);
  writer.Key("shape");
  writer.StartArray();
  for (const std::uint64_t extent : tensor.shape) writer.Uint64(extent);
  writer.EndArray();
  writer.Key("data_offsets");
  writer.StartArray();
  writer.Uint64(begin);
  writer.Uint64(end);
  writer.EndArray();
  writer.EndObject();
}

}  // namespace

std::optional<std::uint64_t> element_count(const std::vector<std::uint64_t>& shape) {
  std::uint64_t count = 1;
  for (const std::uint64_t extent : shape)
    if (__builtin_mul_overflow(count, extent, &count)) return std::nullopt;
  return count;
}

std::optional<std::uint64_t> tensor_bytes(std::string_view dtype,
                                          const std::vector<std::uint64_t>& shape) {
  const auto bits = bits_of(dtype);
  const auto count = element_count(shape);
  std::uint64_t all_bits = 0;
  if (!bits || !count || __builtin_mul_overflow(*bits, *count, &all_bits) || all_bits % 8 != 0)
    return std::nullopt;
  return all_bits / 8;
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (const std::uint64_t extent : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

std::optional<DType> weight_dtype(std::string_view name) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    if (safetensors_name(dtype) == name) return dtype;
  return std::nullopt;
}

std::string_view safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
  }
  return "unknown";
}

Result<SafetensorsHeader> parse_safetensors(Bytes head, std::uint64_t file_bytes) {
  const auto size = header_bytes(head, file_bytes);
  if (!size) return tl::unexpected(size.error());
  const std::string_view json(reinterpret_cast<const char*>(head.data()) + kSizeField, *size);
  if (json.empty() || json.front() != '{')
    return fail(Code::bad_input, "not a safetensors file: its header does not start with '{'");
  const auto document = parse_json(json);
  if (!document) return fail("safetensors header", document.error());

  SafetensorsHeader header;
  for (const auto& entry : document->GetObject()) {
    std::string name(text_of(entry.name));
    if (name == "__metadata__") {
      WDMOE_TRY(read_metadata(entry.value, header));
      continue;
    }
    auto tensor = read_entry(std::move(name), entry.value);
    if (!tensor) return tl::unexpected(std::move(tensor).error());
    header.tensors.push_back(std::move(*tensor));
  }
  WDMOE_TRY(check_layout(header.tensors, kSizeField + *size, file_bytes));
  return header;
}

Result<std::string> safetensors_header(const std::vector<TensorEntry>& tensors,
                                       const std::map<std::string, std::string>& metadata) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  if (!metadata.empty()) {
    writer.Key("__metadata__");
    writer.StartObject();
    for (const auto& [key, value] : metadata) {
      writer.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
      writer.String(value);
    }
    writer.EndObject();
  }
  std::set<std::string_view> seen = {"__metadata__"};
  std::uint64_t begin = 0;
  for (const TensorEntry& tensor : tensors) {
    const auto bytes = tensor_bytes(tensor.dtype, tensor.shape);
    std::uint64_t end = 0;
    if (!bytes || __builtin_add_overflow(begin, *bytes, &end) || !seen.insert(tensor.name).second)
      return fail(Code::bad_input, "tensor '" + tensor.name + "': cannot be written as " +
                                       tensor.dtype + " " + shape_text(tensor.shape) +
                                       " (unknown dtype, too large, or name used twice)");
    write_entry(writer, tensor, begin, end);
    begin = end;
  }
  writer.EndObject();

  std::string json(buffer.GetString(), buffer.GetSize());
  while ((kSizeField + json.size()) % kDataAlignment != 0) json += ' ';
  if (json.size() > kMostHeaderBytes)
    return fail(Code::limit, "too many tensors for one safetensors file");
  std::string header;
  for (std::size_t i = 0; i < kSizeField; ++i)
    header += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return header + json;
}

}  // namespace wdmoe::weights
