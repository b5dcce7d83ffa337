#include "weights/json.h"

#include <algorithm>
#include <vector>

#include <rapidjson/error/en.h>

#include "weights/file.h"

namespace wdmoe::weights {
namespace {

constexpr int kMostLevels = 64;  // a tokenizer.json has ~10, every other file of a model fewer

/// Counts brackets outside strings, so that nesting is bounded before memory is spent on it.
bool nests_too_deep(std::string_view text) {
  int level = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++level > kMostLevels) return true;
    } else if (c == '}' || c == ']') {
      --level;
    }
  }
  return false;
}

std::vector<const rapidjson::Value::Member*> sorted_members(const rapidjson::Value& object) {
  std::vector<const rapidjson::Value::Member*> members;
  for (auto it = object.MemberBegin(); it != object.MemberEnd(); ++it) members.push_back(&*it);
  std::sort(members.begin(), members.end(),
            [](const auto* a, const auto* b) { return text_of(a->name) < text_of(b->name); });
  return members;
}

/// The first key that some object holds twice.  Depth is bounded by kMostLevels.
std::optional<std::string> duplicate_key(const rapidjson::Value& value) {
  if (value.IsArray()) {
    for (const auto& element : value.GetArray())
      if (auto found = duplicate_key(element)) return found;
  } else if (value.IsObject()) {
    const auto members = sorted_members(value);
    const auto twin = std::adjacent_find(
        members.begin(), members.end(),
        [](const auto* a, const auto* b) { return text_of(a->name) == text_of(b->name); });
    if (twin != members.end()) return std::string(text_of((*twin)->name));
    for (const auto* entry : members)
      if (auto found = duplicate_key(entry->value)) return found;
  }
  return std::nullopt;
}

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

void write_canonical(const rapidjson::Value& value, Writer& writer) {
  if (value.IsObject()) {
    writer.StartObject();
    for (const auto* entry : sorted_members(value)) {
      writer.Key(entry->name.GetString(), entry->name.GetStringLength());
      write_canonical(entry->value, writer);
    }
    writer.EndObject();
  } else if (value.IsArray()) {
    writer.StartArray();
    for (const auto& element : value.GetArray()) write_canonical(element, writer);
    writer.EndArray();
  } else if (value.IsNumber()) {
    // 10000, 10000.0 and 1e4 are one number.  (Sizes fit a double's 53 bits.)
    writer.Double(value.GetDouble());
  } else {
    value.Accept(writer);
  }
}

}  // namespace

Result<rapidjson::Document> parse_json(std::string_view text) {
  if (nests_too_deep(text))
    return fail(Code::limit, "JSON nested deeper than " + std::to_string(kMostLevels) + " levels");
  rapidjson::Document document;
  constexpr unsigned kFlags = rapidjson::kParseValidateEncodingFlag |
                              rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag;
  document.Parse<kFlags>(text.data(), text.size());
  if (document.HasParseError())
    return fail(Code::bad_input, "not JSON at byte " + std::to_string(document.GetErrorOffset()) +
                                     ": " + rapidjson::GetParseError_En(document.GetParseError()));
  if (const auto key = duplicate_key(document))
    return fail(Code::bad_input, "key '" + *key + "' appears twice in one JSON object");
  return document;
}

Result<rapidjson::Document> read_json_object(const std::filesystem::path& path) {
  const auto text = read_text(path, kMostJsonBytes);
  if (!text) return tl::unexpected(text.error());
  auto document = parse_json(*text);
  if (!document) return fail(path.string(), std::move(document).error());
  if (!document->IsObject())
    return fail(Code::bad_input, path.string() + ": expected a JSON object");
  return document;
}

const rapidjson::Value* member(const rapidjson::Value& object, const char* key) {
  const auto found = object.FindMember(key);
  if (found == object.MemberEnd() || found->value.IsNull()) return nullptr;
  return &found->value;
}

Result<std::uint64_t> whole_number(const rapidjson::Value& object, const char* key,
                                   std::uint64_t least, std::uint64_t most) {
  const rapidjson::Value* value = member(object, key);
  if (value == nullptr) return fail(Code::bad_input, "key '" + std::string(key) + "' is missing");
  if (!value->IsUint64() || value->GetUint64() < least || value->GetUint64() > most)
    return fail(Code::bad_input, "key '" + std::string(key) + "': expected a whole number from " +
                                     std::to_string(least) + " to " + std::to_string(most));
  return value->GetUint64();
}

Result<std::string> text_member(const rapidjson::Value& object, const char* key) {
  const rapidjson::Value* value = member(object, key);
  if (value == nullptr || !value->IsString())
    return fail(Code::bad_input, "key '" + std::string(key) + "': expected a string");
  return std::string(text_of(*value));
}

std::string canonical_json(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  write_canonical(value, writer);
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace wdmoe::weights
