#include "bsd/api/error.h"

#include <nlohmann/json.hpp>

namespace wdmoe::bsd::api {

using nlohmann::json;

std::string ApiError::json() const {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::json() : nlohmann::json(text);
  };
  const nlohmann::json body = {{"error",
                                {{"message", message},
                                 {"type", type},
                                 {"param", text_or_null(param)},
                                 {"code", text_or_null(code)}}}};
  // Messages may quote what a client sent; bytes that are not UTF-8 become U+FFFD.
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

tl::unexpected<ApiError> bad_field(std::string_view param, const std::string& message) {
  ApiError error;
  error.message = std::string(param) + " " + message;
  error.param = std::string(param);
  return tl::unexpected(std::move(error));
}

tl::unexpected<ApiError> unsupported_field(std::string_view param, std::string_view what) {
  ApiError error;
  error.message = std::string(param) + ": " + std::string(what) + " is not supported; leave it out";
  error.param = std::string(param);
  error.code = "unsupported_parameter";
  return tl::unexpected(std::move(error));
}

ApiError from_engine(const Error& error) {
  ApiError answer;
  answer.message = error.text;
  switch (error.code) {
    case Code::busy:
      answer.status = 429;
      answer.type = "rate_limit_error";
      answer.code = "rate_limit_exceeded";
      return answer;
    case Code::unavailable:
      answer.status = 503;
      answer.type = "server_error";
      answer.code = "not_ready";
      return answer;
    case Code::limit:
      answer.code = "context_length_exceeded";
      return answer;
    case Code::bad_input:
    case Code::unsupported:
      return answer;
    default:
      answer.status = 500;
      answer.type = "server_error";
      return answer;
  }
}

unsigned retry_after(unsigned status) {
  return status == 429 ? 1 : status == 503 ? 5 : 0;
}

}  // namespace wdmoe::bsd::api
