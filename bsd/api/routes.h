#pragma once
// Which path and method does what, and the answers that need no engine.  Pure but for the hooks.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "bsd/api/call.h"
#include "bsd/api/hooks.h"
#include "bsd/api/http.h"
#include "bsd/model/tokenizer.h"

namespace wdmoe::bsd::api {

struct RouteContext {
  const ModelInfo& model;
  const Hooks& hooks;
  const Tokenizer& tokenizer;
};

/// The kind of call that a POST to this path makes; nothing for other requests.
std::optional<CallKind> call_of(const HttpRequest& request);

/// Every other request: documents, tokenization, 404, 405, CORS.
HttpResponse answer_directly(const HttpRequest& request, const RouteContext& context);

HttpResponse error_response(const ApiError& error);
HttpResponse json_response(const nlohmann::json& body, unsigned status = 200);

}  // namespace wdmoe::bsd::api
