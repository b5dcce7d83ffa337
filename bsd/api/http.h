#pragma once
// HTTP/1.1 between bytes and values: requests are read with Beast's parser, responses are written
// here. Pure: no socket in sight.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wdmoe::bsd::api {

struct HttpRequest {
  std::string method, target, body;
  std::string request_id;  ///< x-request-id, if the client sent one that can be echoed
  std::string api_key;     ///< of `Authorization: Bearer …`; empty: none came
  bool http_1_0 = false;
  bool keep_alive = true;

  std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
};

struct HttpResponse {
  unsigned status = 200;
  std::string type = "application/json", body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// What the connection does after a response.
struct ResponseFraming {
  bool keep_alive = true;
  bool head_only = false;  ///< HEAD: no body, its length all the same
  bool http_1_0 = false;
  std::string request_id;
};

std::string write_response(const HttpResponse& response, const ResponseFraming& framing);
/// The head of a stream of server-sent events: chunked, or for HTTP/1.0 until the connection
/// closes.
std::string write_stream_head(const ResponseFraming& framing);
/// One piece of that stream; empty pieces become nothing.
std::string write_stream_piece(std::string_view piece, const ResponseFraming& framing);
std::string write_stream_end(const ResponseFraming& framing);

/// Reads requests from a growing buffer, one after the other.
class RequestReader {
 public:
  enum class State { more, ready, bad };

  RequestReader(std::size_t max_header_bytes, std::size_t max_body_bytes);
  ~RequestReader();

  /// Eats from the front of `input`.  more: wants bytes; ready: take() gives a request; bad:
  /// status() says why, and nothing more can be read.
  State feed(std::string& input);
  bool begun() const;        ///< something of a request was eaten
  bool header_done() const;  ///< the body is what is missing
  HttpRequest head() const;  ///< once header_done(): the request, still without its body
  bool wants_continue();     ///< true once: the client waits for "100 Continue"
  unsigned status() const { return status_; }
  const std::string& problem() const { return problem_; }
  HttpRequest take();  ///< and begins the next

 private:
  struct Parser;
  State fail(unsigned status, std::string problem);
  void restart();

  const std::size_t max_header_bytes_, max_body_bytes_;
  std::unique_ptr<Parser> parser_;
  unsigned status_ = 0;
  std::string problem_;
  bool continue_sent_ = false;
};

}  // namespace wdmoe::bsd::api
