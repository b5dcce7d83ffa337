#include "bsd/api/sampling_fields.h"

#include "bsd/api/fields.h"

namespace wdmoe::bsd::api {
namespace {

using nlohmann::json;

constexpr std::uint32_t kMaxCount =
    1'000'000'000;  // larger is a slip; the context is smaller anyway

ApiResult<std::uint64_t> seed_from(const json& body, std::uint64_t fresh) {
  const json* seed = find_field(body, "seed");
  if (seed == nullptr) return fresh;
  if (!seed->is_number_integer()) return bad_field("seed", "should be a whole number");
  return seed->is_number_unsigned() ? seed->get<std::uint64_t>()
                                    : static_cast<std::uint64_t>(seed->get<std::int64_t>());
}

ApiResult<std::uint32_t> top_k_from(const json& body) {
  const json* field = find_field(body, "top_k");
  if (field != nullptr && field->is_number_integer() && *field == -1) return 0u;  // vLLM's "off"
  WDMOE_API_ASSIGN(top_k, count_field(body, "top_k", kMaxCount));
  return top_k.value_or(0);
}

bool is_zero(const json& value) {
  return value.is_number() && value.get<double>() == 0.0;
}

/// Whether a field's value asks for nothing.
bool is_idle(std::string_view key, const json& value) {
  if (key == "presence_penalty" || key == "frequency_penalty") return is_zero(value);
  if (key == "response_format") return value.is_object() && value.value("type", json()) == "text";
  if (key == "modalities") return value == json::array({"text"});
  if (key == "tool_choice" || key == "function_call") return value == "none" || value == "auto";
  if (key == "suffix") return value == "";
  return (value.is_array() || value.is_object()) && value.empty();
}

}  // namespace

ApiResult<Sampling> sampling_from(const json& body, std::uint64_t fresh_seed) {
  Sampling sampling;
  WDMOE_API_ASSIGN(temperature, number_field(body, "temperature", 1, {0, 100}));
  WDMOE_API_ASSIGN(top_p, number_field(body, "top_p", 1, {0, 1, true}));
  WDMOE_API_ASSIGN(min_p, number_field(body, "min_p", 0, {0, 1}));
  WDMOE_API_ASSIGN(penalty, number_field(body, "repetition_penalty", 1, {0, 100, true}));
  WDMOE_API_ASSIGN(top_k, top_k_from(body));
  WDMOE_API_ASSIGN(seed, seed_from(body, fresh_seed));
  sampling.temperature = temperature;
  sampling.top_p = top_p;
  sampling.min_p = min_p;
  sampling.repetition_penalty = penalty;
  sampling.top_k = top_k;
  sampling.seed = seed;
  return sampling;
}

ApiResult<std::vector<std::string>> stops_from(const json& body) {
  std::vector<std::string> stops;
  const json* field = find_field(body, "stop");
  if (field == nullptr) return stops;
  const json list = field->is_array() ? *field : json::array({*field});
  if (list.size() > kMaxStops)
    return bad_field("stop", "should hold at most " + std::to_string(kMaxStops) + " strings");
  for (const json& stop : list) {
    if (!stop.is_string()) return bad_field("stop", "should be a string or a list of strings");
    const auto& text = stop.get_ref<const std::string&>();
    if (text.empty()) continue;  // some clients send [""] for none
    if (text.size() > kMaxStopBytes)
      return bad_field(
          "stop", "should hold strings of at most " + std::to_string(kMaxStopBytes) + " bytes");
    stops.push_back(text);
  }
  return stops;
}

ApiResult<std::optional<std::uint32_t>> max_tokens_from(const json& body) {
  WDMOE_API_ASSIGN(newer, count_field(body, "max_completion_tokens", kMaxCount));
  if (newer) return newer;
  return count_field(body, "max_tokens", kMaxCount);
}

ApiResult<std::size_t> choices_from(const json& body) {
  WDMOE_API_ASSIGN(n, count_field(body, "n", kMaxChoices));
  WDMOE_API_ASSIGN(best_of, count_field(body, "best_of", kMaxChoices));
  if (n && *n == 0) return bad_field("n", "should be at least 1");
  if (best_of && *best_of != n.value_or(1))
    return unsupported_field("best_of", "a value other than n");
  return std::size_t{n.value_or(1)};
}

ApiResult<void> read_delivery(const json& body, Call& call) {
  WDMOE_API_ASSIGN(stream, bool_field(body, "stream", false));
  call.stream = stream;
  if (const json* options = find_field(body, "stream_options")) {
    if (!options->is_object()) return bad_field("stream_options", "should be an object");
    WDMOE_API_ASSIGN(usage, bool_field(*options, "include_usage", false));
    call.include_usage = usage;
  }
  if (const json* own = find_field(body, "wdmoe")) {
    if (!own->is_object()) return bad_field("wdmoe", "should be an object");
    for (const auto& [key, value] : own->items())
      if (key != "trace" && key != "policy" && key != "quality")
        return unsupported_field("wdmoe." + key, "the setting");
    WDMOE_API_ASSIGN(trace, bool_field(*own, "trace", false));
    call.trace = trace;
  }
  return {};
}

ApiResult<PolicyWish> wish_from(const json& body, const ModelInfo& model) {
  PolicyWish wish;
  const json* own = find_field(body, "wdmoe");
  if (own == nullptr) return wish;
  if (const json* name = find_field(*own, "policy")) {
    WDMOE_API_ASSIGN(index, policy_from(*name, "wdmoe.policy", model));
    wish.policy = index;
  }
  if (const json* quality = find_field(*own, "quality")) {
    WDMOE_API_ASSIGN(value, share_from(*quality, "wdmoe.quality"));
    wish.quality = value;
  }
  return wish;
}

ApiResult<void> refuse_unsupported(const json& body) {
  for (const char* key :
       {"tools", "tool_choice", "functions", "function_call", "response_format", "logit_bias",
        "presence_penalty", "frequency_penalty", "suffix", "modalities", "audio", "prediction",
        "guided_json", "guided_regex", "guided_choice", "guided_grammar", "json_schema", "grammar"})
    if (const json* field = find_field(body, key); field != nullptr && !is_idle(key, *field))
      return unsupported_field(key, "this");
  return {};
}

}  // namespace wdmoe::bsd::api
