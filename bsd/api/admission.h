#pragma once
// Who may ask what: everything but health and a browser's preflight needs an API key, once keys are
// set.  Pure but for the hook.

#include <optional>

#include "bsd/api/error.h"
#include "bsd/api/hooks.h"
#include "bsd/api/http.h"

namespace wdmoe::bsd::api {

/// 401 in OpenAI's words, or nothing where the request is welcome.  Looks at the head only.
std::optional<ApiError> refuse_stranger(const HttpRequest& request, const Hooks& hooks);

}  // namespace wdmoe::bsd::api
