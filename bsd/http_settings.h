#pragma once
// What the HTTP API is told of the model and the configuration, and who may ask it.

#include <functional>
#include <string>
#include <string_view>

#include "bsd/api/server.h"
#include "bsd/config.h"
#include "bsd/model/model_config.h"
#include "bsd/model/tokenizer.h"

namespace wdmoe::bsd {

/// The model's name as clients see it.
std::string served_name(const Config& config);

/// `inherited_http`: a listening socket in place of http.listen, or -1.  `max_context`: prompt and
/// completion, in tokens.
api::Settings http_settings(const Config& config, int inherited_http, const ModelConfig& model,
                            const Tokenizer& tokenizer, std::size_t max_context);

/// Hooks::authorised by the file http.api_keys, which is looked at again as it changes; empty where
/// no file is set.  Throws std::runtime_error when it cannot be used.
std::function<bool(std::string_view key)> api_key_check(const Config& config);

/// Throws std::runtime_error naming the setting of [http] that is wrong; opens no socket.
void check_http(const Config& config);

}  // namespace wdmoe::bsd
