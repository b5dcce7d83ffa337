#pragma once
// The tool's side of the HTTP API: one request at a time, every wait with a deadline.

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json_fwd.hpp>

#include "common/result.h"

namespace wdmoe::cli {

struct HttpResponse {
  unsigned status = 0;
  std::string body;
};

/// Called with the payload of each `data:` line; false ends the stream (and the connection).
using EventHandler = std::function<bool(std::string_view data)>;

class HttpClient {
 public:
  /// `url`: http://host:port or https://host:port, with or without a trailing slash; a server's
  /// certificate has to be its host's, from an authority that OpenSSL trusts (SSL_CERT_FILE adds
  /// one).  Nothing is sent yet.
  static Result<HttpClient> to(std::string_view url);

  /// Errors: unavailable (no connection), timeout (silence for longer than patience), bad_input.
  Result<HttpResponse> get(const std::string& path) const;
  Result<HttpResponse> post(const std::string& path, const std::string& json_body) const;
  Result<HttpResponse> put(const std::string& path, const std::string& json_body) const;
  Result<HttpResponse> remove(const std::string& path) const;  ///< DELETE

  /// Posts and reads server-sent events until "[DONE]" (which is not passed on) or `on_event` says
  /// stop.  A response that is not 200 comes back whole; a 200 has an empty body.
  Result<HttpResponse> post_events(const std::string& path, const std::string& json_body,
                                   const EventHandler& on_event) const;

  /// Longest silence that is waited out; a long prompt may take minutes before its first token.
  void set_patience(std::chrono::seconds patience) { patience_ = patience; }
  /// Shown with every request; empty: none.
  void set_api_key(std::string key) { api_key_ = std::move(key); }
  const std::string& host() const { return host_; }

 private:
  Result<HttpResponse> exchange(std::string_view method, const std::string& path,
                                const std::string& body) const;
  std::string host_, port_, api_key_;
  bool tls_ = false;
  std::chrono::seconds patience_{300};
};

/// The body of a 200, a JSON object.  Errors: those of the request, error_from(), bad_input.
Result<nlohmann::json> json_of(const Result<HttpResponse>& response);
/// Prints the answer of a base station to `path`: as JSON, or as `table_of` makes it; exit code 0.
/// Errors: those of json_of(); bad_input when `table_of` misses something in it.
Result<int> print_answer(const Result<HttpResponse>& response, const char* path, bool as_json,
                         std::string (*table_of)(const nlohmann::json&));
/// A request's body.  Bad UTF-8, which JSON cannot carry, is replaced.
std::string json_text(const nlohmann::json& body);

/// The message of an OpenAI-style error body, or the start of the body itself.
Error error_from(const HttpResponse& response);

}  // namespace wdmoe::cli
