#pragma once
// Errors as OpenAI's clients expect them: an HTTP status and {"error": {message, type, param,
// code}}.

#include <string>
#include <string_view>

#include "common/result.h"

namespace wdmoe::bsd::api {

struct ApiError {
  unsigned status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;  ///< the field at fault; empty: null
  std::string code;   ///< machine-readable; empty: null
  std::string json() const;
};

template <class T>
using ApiResult = tl::expected<T, ApiError>;

/// 400 about one field.
tl::unexpected<ApiError> bad_field(std::string_view param, const std::string& message);
/// 400: the field asks for something this server does not do.
tl::unexpected<ApiError> unsupported_field(std::string_view param, std::string_view what);

/// What became of a request that the engine refused.
ApiError from_engine(const Error& error);
/// Seconds for Retry-After; 0: no such header.
unsigned retry_after(unsigned status);

}  // namespace wdmoe::bsd::api
