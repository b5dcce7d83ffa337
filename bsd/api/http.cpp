#include "bsd/api/http.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace wdmoe::bsd::api {
namespace {

namespace http = boost::beast::http;

std::string reason_of(unsigned status) {
  const auto reason = http::obsolete_reason(http::int_to_status(status));
  return std::string(reason.data(), reason.size());
}

std::string head(unsigned status, const ResponseFraming& framing) {
  std::string out = framing.http_1_0 ? "HTTP/1.0 " : "HTTP/1.1 ";
  out +=
      std::to_string(status) + " " + reason_of(status) + "\r\nServer: wdmoe/" WDMOE_VERSION "\r\n";
  out += "Access-Control-Allow-Origin: *\r\nX-Request-Id: " + framing.request_id + "\r\n";
  out += framing.keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  return out;
}

/// An id that a client chose goes into our header only if it cannot break it.
bool is_plain(std::string_view id) {
  constexpr std::size_t kLongest = 128;
  return id.size() <= kLongest && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                  c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

std::string write_response(const HttpResponse& response, const ResponseFraming& framing) {
  std::string out = head(response.status, framing);
  for (const auto& [name, value] : response.headers) out += name + ": " + value + "\r\n";
  if (!response.type.empty()) out += "Content-Type: " + response.type + "\r\n";
  if (response.status != 204)
    out += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  out += "\r\n";
  if (!framing.head_only) out += response.body;
  return out;
}

std::string write_stream_head(const ResponseFraming& framing) {
  std::string out = head(200, framing);
  out += "Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n";
  if (!framing.http_1_0) out += "Transfer-Encoding: chunked\r\n";
  return out + "\r\n";
}

std::string write_stream_piece(std::string_view piece, const ResponseFraming& framing) {
  if (piece.empty()) return {};
  if (framing.http_1_0) return std::string(piece);
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
  return size + std::string(piece) + "\r\n";
}

std::string write_stream_end(const ResponseFraming& framing) {
  return framing.http_1_0 ? std::string() : std::string("0\r\n\r\n");
}

struct RequestReader::Parser {
  http::request_parser<http::string_body> http;
};

RequestReader::RequestReader(std::size_t max_header_bytes, std::size_t max_body_bytes)
    : max_header_bytes_(max_header_bytes), max_body_bytes_(max_body_bytes) {
  restart();
}

RequestReader::~RequestReader() = default;

void RequestReader::restart() {
  parser_ = std::make_unique<Parser>();
  parser_->http.header_limit(static_cast<std::uint32_t>(max_header_bytes_));
  parser_->http.body_limit(max_body_bytes_);
  parser_->http.eager(true);
  continue_sent_ = false;
}

RequestReader::State RequestReader::fail(unsigned status, std::string problem) {
  status_ = status;
  problem_ = std::move(problem);
  return State::bad;
}

RequestReader::State RequestReader::feed(std::string& input) {
  if (status_ != 0) return State::bad;
  while (!parser_->http.is_done()) {
    if (input.empty()) return State::more;
    boost::beast::error_code error;
    const std::size_t eaten =
        parser_->http.put(boost::asio::const_buffer(input.data(), input.size()), error);
    input.erase(0, eaten);
    if (error == http::error::need_more) {
      if (!header_done() && input.size() > max_header_bytes_)
        return fail(431,
                    "the header is longer than " + std::to_string(max_header_bytes_) + " bytes");
      return State::more;
    }
    if (error == http::error::header_limit)
      return fail(431, "the header is longer than " + std::to_string(max_header_bytes_) + " bytes");
    if (error == http::error::body_limit)
      return fail(413, "the body is longer than " + std::to_string(max_body_bytes_) + " bytes");
    if (error) return fail(400, "not a valid HTTP request: " + error.message());
  }
  return State::ready;
}

bool RequestReader::begun() const {
  return parser_->http.got_some();
}

bool RequestReader::header_done() const {
  return parser_->http.is_header_done();
}

bool RequestReader::wants_continue() {
  if (!header_done() || continue_sent_ || parser_->http.is_done()) return false;
  const auto& fields = parser_->http.get();
  continue_sent_ = boost::beast::iequals(fields[http::field::expect], "100-continue");
  return continue_sent_;
}

HttpRequest RequestReader::head() const {
  const auto& message = parser_->http.get();
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.http_1_0 = message.version() < 11;
  request.keep_alive = message.keep_alive();
  const auto id = message["x-request-id"];
  if (is_plain(std::string_view(id.data(), id.size()))) request.request_id = std::string(id);
  constexpr boost::beast::string_view kBearer = "bearer ";
  const auto credential = message[http::field::authorization];
  if (boost::beast::iequals(credential.substr(0, kBearer.size()), kBearer))
    request.api_key = std::string(credential.substr(kBearer.size()));
  return request;
}

HttpRequest RequestReader::take() {
  HttpRequest request = head();
  request.body = std::move(parser_->http.get().body());
  restart();
  return request;
}

}  // namespace wdmoe::bsd::api
