#include "bsd/model/tokenizer_part.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {

using nlohmann::json;

Part::Part(const json& value, std::string path) : value_(value), path_(std::move(path)) {
  if (!value_.is_object())
    throw LoadError(Code::bad_input, path_ + " should be an object, is " + value_.type_name());
}

const json* Part::find(std::string_view key) const {
  const auto found = value_.find(std::string(key));
  return found == value_.end() || found->is_null() ? nullptr : &*found;
}

std::string Part::string(std::string_view key) const {
  const json* field = find(key);
  if (field == nullptr || !field->is_string()) bad(key, "a string");
  return field->get<std::string>();
}

std::string Part::string_or(std::string_view key, std::string_view otherwise) const {
  return find(key) == nullptr ? std::string(otherwise) : string(key);
}

bool Part::boolean(std::string_view key, bool otherwise) const {
  const json* field = find(key);
  if (field == nullptr) return otherwise;
  if (!field->is_boolean()) bad(key, "true or false");
  return field->get<bool>();
}

std::uint64_t Part::number(std::string_view key, std::uint64_t most) const {
  const json* field = find(key);
  if (field == nullptr || !field->is_number_unsigned() || field->get<std::uint64_t>() > most)
    bad(key, "a whole number up to " + std::to_string(most));
  return field->get<std::uint64_t>();
}

char32_t Part::character(std::string_view key) const {
  const std::string value = string(key);
  std::size_t end = 0;
  if (value.empty()) bad(key, "one character");
  const char32_t c = next_char(value, 0, end);
  if (end != value.size()) bad(key, "one character");
  return c;
}

const json& Part::array(std::string_view key) const {
  const json* field = find(key);
  if (field == nullptr || !field->is_array()) bad(key, "an array");
  return *field;
}

const json& Part::object(std::string_view key) const {
  const json* field = find(key);
  if (field == nullptr || !field->is_object()) bad(key, "an object");
  return *field;
}

Part Part::part(std::string_view key) const {
  return Part(object(key), path_ + "." + std::string(key));
}

Part Part::part(std::string_view key, std::size_t index, const json& element) const {
  return Part(element, path_ + "." + std::string(key) + "[" + std::to_string(index) + "]");
}

void Part::only(std::initializer_list<std::string_view> known) const {
  for (const auto& [key, field] : value_.items()) {
    if (field.is_null()) continue;
    if (std::find(known.begin(), known.end(), key) == known.end())
      throw LoadError(
          Code::unsupported,
          path_ + "." + key + ": this build does not know the key; it may change the text");
  }
}

void Part::unsupported(std::string_view key, std::string_view found, std::string_view can) const {
  throw LoadError(Code::unsupported, path_ + "." + std::string(key) + " is " + std::string(found) +
                                         ", which is not supported; use " + std::string(can));
}

void Part::bad(std::string_view key, std::string_view expected) const {
  throw LoadError(Code::bad_input,
                  path_ + "." + std::string(key) + " should be " + std::string(expected));
}

}  // namespace wdmoe::bsd::text
