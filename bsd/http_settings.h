#pragma once
// What the HTTP API is told of the model and the configuration.

#include <string>

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

}  // namespace wdmoe::bsd
