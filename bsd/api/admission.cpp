#include "bsd/api/admission.h"

namespace wdmoe::bsd::api {
namespace {

/// Load balancers and browsers cannot show a key; neither answer says more than that we are here.
bool is_open_to_all(const HttpRequest& request) {
  const auto path = request.path();
  return path == "/healthz" || path == "/health" || request.method == "OPTIONS";
}

}  // namespace

std::optional<ApiError> refuse_stranger(const HttpRequest& request, const Hooks& hooks) {
  if (!hooks.authorised || is_open_to_all(request) ||
      (!request.api_key.empty() && hooks.authorised(request.api_key)))
    return std::nullopt;
  ApiError error;
  error.status = 401;
  error.message = request.api_key.empty()
                      ? "no API key: expected a header `Authorization: Bearer KEY`"
                      : "this API key is not known here; `wdmoe keygen --api` makes one";
  error.code = request.api_key.empty() ? "" : "invalid_api_key";
  return error;
}

}  // namespace wdmoe::bsd::api
