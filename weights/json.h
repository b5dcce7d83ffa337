#pragma once
// JSON of unknown origin as a document that is safe to walk.  Private to .cpp files: RapidJSON's
// headers are heavy.

#define RAPIDJSON_HAS_STDSTRING 1  // so include this header, never RapidJSON directly
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <rapidjson/document.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include "common/result.h"

namespace wdmoe::weights {

constexpr std::uint64_t kMostJsonBytes = 64u << 20;  // index files of 1000-part models are ~10 MiB

/// Parses `text`: UTF-8 validated, at most 64 levels deep, no duplicate keys in any object.
Result<rapidjson::Document> parse_json(std::string_view text);

/// The same from a file whose outermost value must be an object; errors name the file.
Result<rapidjson::Document> read_json_object(const std::filesystem::path& path);

inline std::string_view text_of(const rapidjson::Value& value) {
  return {value.GetString(), value.GetStringLength()};
}

/// Member `key` of an object; nullptr when absent or null.
const rapidjson::Value* member(const rapidjson::Value& object, const char* key);

/// A required whole number in [least, most]; the error names the key.
Result<std::uint64_t> whole_number(const rapidjson::Value& object, const char* key,
                                   std::uint64_t least, std::uint64_t most);

/// A required string; the error names the key.
Result<std::string> text_member(const rapidjson::Value& object, const char* key);

/// `value` with sorted keys and no spaces: equal for equal contents.
std::string canonical_json(const rapidjson::Value& value);

}  // namespace wdmoe::weights
