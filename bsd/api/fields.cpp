#include "bsd/api/fields.h"

#include <cmath>

#include "bsd/api/call.h"
#include "bsd/json_depth.h"

namespace wdmoe::bsd::api {
namespace {

using nlohmann::json;

ApiError not_json(const std::string& why) {
  ApiError error;
  error.message = "the request body " + why;
  error.code = "invalid_json";
  return error;
}

std::string shown(double value) {
  std::string text = json(value).dump();
  if (text.size() > 2 && text.substr(text.size() - 2) == ".0") text.resize(text.size() - 2);
  return text;
}

}  // namespace

ApiResult<json> parse_object(std::string_view body) {
  if (json_depth(body) > kMaxJsonDepth)
    return tl::unexpected(
        not_json("nests deeper than " + std::to_string(kMaxJsonDepth) + " levels"));
  json document = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded())
    return tl::unexpected(not_json(
        "is not valid JSON in UTF-8 (a lone surrogate such as \\ud800 is not text either)"));
  if (!document.is_object()) return tl::unexpected(not_json("should be a JSON object"));
  return document;
}

const json* find_field(const json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

ApiResult<bool> bool_field(const json& object, std::string_view key, bool otherwise) {
  const json* field = find_field(object, key);
  if (field == nullptr) return otherwise;
  if (!field->is_boolean()) return bad_field(key, "should be true or false");
  return field->get<bool>();
}

ApiResult<std::string> string_field(const json& object, std::string_view key,
                                    std::string_view otherwise) {
  const json* field = find_field(object, key);
  if (field == nullptr) return std::string(otherwise);
  if (!field->is_string()) return bad_field(key, "should be a string");
  return field->get<std::string>();
}

ApiResult<float> number_field(const json& object, std::string_view key, double otherwise,
                              Range range) {
  const json* field = find_field(object, key);
  if (field == nullptr) return static_cast<float>(otherwise);
  const double value = field->is_number() ? field->get<double>() : std::nan("");
  const bool fits = range.without_least ? value > range.least : value >= range.least;
  if (!fits || !(value <= range.most))
    return bad_field(key, "should be a number " +
                              std::string(range.without_least ? "above " : "from ") +
                              shown(range.least) + " to " + shown(range.most));
  return static_cast<float>(value);
}

ApiResult<std::optional<std::uint32_t>> count_field(const json& object, std::string_view key,
                                                    std::uint32_t most) {
  const json* field = find_field(object, key);
  if (field == nullptr) return std::optional<std::uint32_t>();
  // Some clients send 16.0 for 16.
  const double value = field->is_number() ? field->get<double>() : -1.0;
  if (!(value >= 0 && value <= static_cast<double>(most)) || value != std::floor(value))
    return bad_field(key, "should be a whole number from 0 to " + std::to_string(most));
  return std::optional<std::uint32_t>(static_cast<std::uint32_t>(value));
}

ApiResult<double> share_from(const json& value, std::string_view name) {
  const double share = value.is_number() ? value.get<double>() : -1;
  if (!(share >= 0 && share <= 1)) return bad_field(name, "should be a number from 0 to 1");
  return share;
}

ApiResult<std::uint8_t> policy_from(const json& value, std::string_view name,
                                    const ModelInfo& model) {
  std::string known;
  for (std::size_t index = 0; index < model.policies.size(); ++index) {
    if (value.is_string() && value.get_ref<const std::string&>() == model.policies[index].name)
      return static_cast<std::uint8_t>(index);
    known += (index == 0 ? "" : ", ") + model.policies[index].name;
  }
  return bad_field(name, "should be one of " + known);
}

ApiResult<std::vector<Token>> token_list(const json& value, std::string_view name,
                                         std::size_t vocabulary) {
  std::vector<Token> tokens;
  if (!value.is_array()) return bad_field(name, "should be a list of token ids");
  tokens.reserve(value.size());
  for (const json& id : value) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= vocabulary)
      return bad_field(name, "should hold token ids below " + std::to_string(vocabulary) +
                                 ", the vocabulary's size");
    tokens.push_back(id.get<Token>());
  }
  return tokens;
}

}  // namespace wdmoe::bsd::api
