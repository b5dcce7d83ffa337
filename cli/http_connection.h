#pragma once
// One HTTP connection of the tool, with TLS or without.  Every operation runs the loop until it is
// done or its time is up.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "common/result.h"

namespace wdmoe::cli {

class HttpConnection {
 public:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  using Parser = boost::beast::http::response_parser<boost::beast::http::string_body>;

  /// `patience`: the longest silence that is waited out.
  explicit HttpConnection(std::chrono::seconds patience);
  ~HttpConnection();

  // Errors: unavailable, timeout; denied (the server's certificate).
  Result<void> open(const std::string& host, const std::string& port, bool tls);
  Result<void> send(Request& request);
  Result<void> read_header(Parser& parser);
  Result<void> read_rest(Parser& parser);
  /// Reads some more of the body; true at its end.
  Result<bool> read_some(Parser& parser);

 private:
  struct Parts;
  Result<void> check(std::string_view what, boost::system::error_code code) const;
  const std::chrono::seconds patience_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace wdmoe::cli
