#pragma once
// The fields that completions and chats share: sampling, stop strings, streaming, tracing, and
// those that this server refuses.

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bsd/api/call.h"

namespace wdmoe::bsd::api {

ApiResult<Sampling> sampling_from(const nlohmann::json& body, std::uint64_t fresh_seed);
ApiResult<std::vector<std::string>> stops_from(const nlohmann::json& body);
/// max_completion_tokens, else max_tokens, else nothing.
ApiResult<std::optional<std::uint32_t>> max_tokens_from(const nlohmann::json& body);
/// n, from 1 to kMaxChoices.
ApiResult<std::size_t> choices_from(const nlohmann::json& body);
/// stream, stream_options and wdmoe.trace; refuses what else is in wdmoe but a wish.
ApiResult<void> read_delivery(const nlohmann::json& body, Call& call);
/// wdmoe.policy and wdmoe.quality, for one request.
ApiResult<PolicyWish> wish_from(const nlohmann::json& body, const ModelInfo& model);
/// 400 for the first field whose meaning would be ignored.
ApiResult<void> refuse_unsupported(const nlohmann::json& body);

}  // namespace wdmoe::bsd::api
