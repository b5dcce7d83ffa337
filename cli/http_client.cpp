#include "cli/http_client.h"

#include <cstdio>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "cli/http_connection.h"

namespace wdmoe::cli {
namespace {

namespace http = boost::beast::http;

constexpr std::size_t kBodyLimit = std::size_t{1} << 30;  // logits of a long prompt are large
constexpr std::size_t kLineLimit = std::size_t{16} << 20;

http::request<http::string_body> make_request(http::verb verb, const std::string& host,
                                              const std::string& api_key, const std::string& path,
                                              const std::string& body) {
  http::request<http::string_body> request(verb, path, 11);
  request.set(http::field::host, host);
  request.set(http::field::user_agent, "wdmoe/" WDMOE_VERSION);
  request.set(http::field::connection, "close");
  if (!api_key.empty()) request.set(http::field::authorization, "Bearer " + api_key);
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = body;
  request.prepare_payload();
  return request;
}

/// Takes whole lines out of `text` and passes their events on; false once the stream has ended.
bool pass_events(std::string& text, const EventHandler& on_event) {
  std::size_t start = 0;
  bool more = true;
  for (std::size_t end = text.find('\n'); more && end != std::string::npos;
       end = text.find('\n', start)) {
    std::string_view line(text.data() + start, end - start);
    start = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    constexpr std::string_view kData = "data:";
    if (line.substr(0, kData.size()) != kData) continue;  // a comment or the blank between events
    line.remove_prefix(kData.size());
    if (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    more = line != "[DONE]" && on_event(line);
  }
  text.erase(0, start);
  return more;
}

}  // namespace

Result<HttpClient> HttpClient::to(std::string_view url) {
  constexpr std::string_view kPlain = "http://", kTls = "https://";
  std::string_view rest = url;
  HttpClient client;
  client.tls_ = rest.substr(0, kTls.size()) == kTls;
  if (client.tls_)
    rest.remove_prefix(kTls.size());
  else if (rest.substr(0, kPlain.size()) == kPlain)
    rest.remove_prefix(kPlain.size());
  while (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  const auto colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == rest.size() ||
      rest.find('/') != std::string_view::npos)
    return fail(Code::bad_input,
                "'" + std::string(url) + "': expected http://HOST:PORT or https://HOST:PORT");
  client.host_ = rest.substr(0, colon);
  client.port_ = rest.substr(colon + 1);
  return client;
}

Result<HttpResponse> HttpClient::exchange(std::string_view method, const std::string& path,
                                          const std::string& body) const {
  HttpConnection connection(patience_);
  WDMOE_TRY(connection.open(host_, port_, tls_));
  auto request =
      make_request(http::string_to_verb(boost::beast::string_view(method.data(), method.size())),
                   host_, api_key_, path, body);
  WDMOE_TRY(connection.send(request));
  http::response_parser<http::string_body> parser;
  parser.body_limit(kBodyLimit);
  WDMOE_TRY(connection.read_rest(parser));
  return HttpResponse{parser.get().result_int(), std::move(parser.get().body())};
}

Result<HttpResponse> HttpClient::get(const std::string& path) const {
  return exchange("GET", path, "");
}

Result<HttpResponse> HttpClient::post(const std::string& path, const std::string& json_body) const {
  return exchange("POST", path, json_body);
}

Result<HttpResponse> HttpClient::put(const std::string& path, const std::string& json_body) const {
  return exchange("PUT", path, json_body);
}

Result<HttpResponse> HttpClient::remove(const std::string& path) const {
  return exchange("DELETE", path, "");
}

Result<HttpResponse> HttpClient::post_events(const std::string& path, const std::string& json_body,
                                             const EventHandler& on_event) const {
  HttpConnection connection(patience_);
  WDMOE_TRY(connection.open(host_, port_, tls_));
  auto request = make_request(http::verb::post, host_, api_key_, path, json_body);
  WDMOE_TRY(connection.send(request));
  http::response_parser<http::string_body> parser;
  // Not boost::none: Beast takes every Content-Length for more than that, and errors have one.
  parser.body_limit(std::numeric_limits<std::uint64_t>::max());
  WDMOE_TRY(connection.read_header(parser));
  const unsigned status = parser.get().result_int();
  if (status != 200) {
    WDMOE_TRY(connection.read_rest(parser));
    return HttpResponse{status, std::move(parser.get().body())};
  }
  while (!parser.is_done()) {
    WDMOE_TRY(connection.read_some(parser));
    if (!pass_events(parser.get().body(), on_event)) break;
    if (parser.get().body().size() > kLineLimit)
      return fail(Code::limit, "the server sent an event of more than 16 MiB");
  }
  return HttpResponse{status, ""};
}

Result<nlohmann::json> json_of(const Result<HttpResponse>& response) {
  if (!response) return tl::unexpected<Error>(response.error());
  if (response->status != 200) return tl::unexpected<Error>(error_from(*response));
  auto body = nlohmann::json::parse(response->body, nullptr, /*allow_exceptions=*/false);
  if (!body.is_object())
    return fail(Code::bad_input, "the answer is not JSON; is this a base station's address?");
  return body;
}

Result<int> print_answer(const Result<HttpResponse>& response, const char* path, bool as_json,
                         std::string (*table_of)(const nlohmann::json&)) {
  const auto body = json_of(response);
  if (!body) return tl::unexpected<Error>(body.error());
  try {
    const std::string text = as_json ? body->dump(2) + "\n" : table_of(*body);
    std::fputs(text.c_str(), stdout);
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::bad_input,
                std::string("unexpected answer from ") + path + ": " + error.what());
  }
  return 0;
}

std::string json_text(const nlohmann::json& body) {
  return body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Error error_from(const HttpResponse& response) {
  const auto body = nlohmann::json::parse(response.body, nullptr, false);
  std::string text = "the server answered " + std::to_string(response.status);
  if (body.is_object() && body.contains("error") && body["error"].is_object())
    text = body["error"].value("message", text);
  else if (!response.body.empty())
    text += ": " + response.body.substr(0, 200);
  return Error{response.status == 503 ? Code::unavailable : Code::bad_input, text};
}

}  // namespace wdmoe::cli
