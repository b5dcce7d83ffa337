#pragma once
// Typed reading of a JSON request body.  Absent and null mean the same; a wrong type or a value out
// of range is a 400 that names the field.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "bsd/api/error.h"
#include "bsd/api/hooks.h"
#include "bsd/request.h"

namespace wdmoe::bsd::api {

/// Parses without exceptions; refuses what is not an object, not UTF-8 or nested too deeply.
ApiResult<nlohmann::json> parse_object(std::string_view body);

/// Null when absent or null.
const nlohmann::json* find_field(const nlohmann::json& object, std::string_view key);

ApiResult<bool> bool_field(const nlohmann::json& object, std::string_view key, bool otherwise);
ApiResult<std::string> string_field(const nlohmann::json& object, std::string_view key,
                                    std::string_view otherwise);

struct Range {
  double least, most;
  bool without_least = false;  // (least, most]
};
ApiResult<float> number_field(const nlohmann::json& object, std::string_view key, double otherwise,
                              Range range);
/// Nothing when absent.
ApiResult<std::optional<std::uint32_t>> count_field(const nlohmann::json& object,
                                                    std::string_view key, std::uint32_t most);
/// A number from 0 to 1; `name` stands in messages.
ApiResult<double> share_from(const nlohmann::json& value, std::string_view name);
/// The index of a policy's name.
ApiResult<std::uint8_t> policy_from(const nlohmann::json& value, std::string_view name,
                                    const ModelInfo& model);
/// Token ids below `vocabulary`; `name` stands in messages.
ApiResult<std::vector<Token>> token_list(const nlohmann::json& value, std::string_view name,
                                         std::size_t vocabulary);

}  // namespace wdmoe::bsd::api

/// `auto name = …` of an ApiResult, or return its error.
#define WDMOE_API_ASSIGN(name, expression)                                     \
  auto name##_result = (expression);                                           \
  if (!name##_result) return tl::unexpected(std::move(name##_result).error()); \
  auto name = std::move(*name##_result)
