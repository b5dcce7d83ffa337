#include "cli/http_connection.h"

#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>

namespace wdmoe::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using ErrorCode = boost::system::error_code;

constexpr std::chrono::seconds kConnectPatience{10};

}  // namespace

struct HttpConnection::Parts {
  /// Starts an operation with start(done) and runs it to its end.
  template <class Start>
  ErrorCode run(std::chrono::seconds patience, const Start& start) {
    ErrorCode outcome;
    stream.expires_after(patience);
    start([&outcome](ErrorCode code, std::size_t = 0) { outcome = code; });
    loop.restart();
    loop.run();
    return outcome;
  }

  /// The same of an operation on whichever stream there is: start(stream, done).
  template <class Start>
  ErrorCode run_on_stream(std::chrono::seconds patience, const Start& start) {
    return run(patience, [&](auto done) { tls ? start(*tls, done) : start(stream, done); });
  }

  ErrorCode connect(const std::string& host, const std::string& port) {
    ErrorCode failure;
    asio::ip::tcp::resolver resolver(loop);
    const auto endpoints = resolver.resolve(host, port, failure);
    if (failure) return failure;
    return run(kConnectPatience, [&](auto done) {
      stream.async_connect(endpoints, [done](ErrorCode code, const auto&) { done(code); });
    });
  }

  ErrorCode shake_hands(const std::string& host) {
    ErrorCode failure;
    tls_context.set_default_verify_paths(failure);  // and SSL_CERT_FILE, SSL_CERT_DIR
    if (failure) return failure;
    SSL_CTX_set_min_proto_version(tls_context.native_handle(), TLS1_2_VERSION);
    tls.emplace(stream, tls_context);
    tls->set_verify_mode(asio::ssl::verify_peer);
    tls->set_verify_callback(asio::ssl::host_name_verification(host));
    SSL_set_tlsext_host_name(tls->native_handle(), host.c_str());
    return run(kConnectPatience,
               [&](auto done) { tls->async_handshake(asio::ssl::stream_base::client, done); });
  }

  asio::io_context loop;
  beast::tcp_stream stream{loop};
  asio::ssl::context tls_context{asio::ssl::context::tls_client};
  std::optional<asio::ssl::stream<beast::tcp_stream&>> tls;
  beast::flat_buffer buffer;
};

HttpConnection::HttpConnection(std::chrono::seconds patience)
    : patience_(patience), parts_(std::make_unique<Parts>()) {}

HttpConnection::~HttpConnection() = default;

Result<void> HttpConnection::open(const std::string& host, const std::string& port, bool tls) {
  const std::string where = (tls ? "https://" : "http://") + host + ":" + port;
  if (const ErrorCode failure = parts_->connect(host, port))
    return fail(Code::unavailable, "cannot reach " + where + ": " + failure.message() +
                                       "; is wdmoe-bsd running there?");
  if (!tls) return {};
  if (const ErrorCode failure = parts_->shake_hands(host))
    return fail(Code::denied, where + ": no TLS: " + failure.message() +
                                  "; if its certificate is your own, set SSL_CERT_FILE to it");
  return {};
}

Result<void> HttpConnection::check(std::string_view what, ErrorCode code) const {
  if (!code) return {};
  const bool late = code == beast::error::timeout;
  return fail(
      late ? Code::timeout : Code::unavailable,
      std::string(what) + ": " +
          (late ? "nothing for " + std::to_string(patience_.count()) + " s" : code.message()));
}

Result<void> HttpConnection::send(Request& request) {
  return check("sending", parts_->run_on_stream(patience_, [&](auto& stream, auto done) {
    http::async_write(stream, request, done);
  }));
}

Result<void> HttpConnection::read_header(Parser& parser) {
  return check("waiting for an answer",
               parts_->run_on_stream(patience_, [&](auto& stream, auto done) {
                 http::async_read_header(stream, parts_->buffer, parser, done);
               }));
}

Result<void> HttpConnection::read_rest(Parser& parser) {
  return check("reading the answer", parts_->run_on_stream(patience_, [&](auto& stream, auto done) {
    http::async_read(stream, parts_->buffer, parser, done);
  }));
}

Result<bool> HttpConnection::read_some(Parser& parser) {
  WDMOE_TRY(check("waiting for the next event",
                  parts_->run_on_stream(patience_, [&](auto& stream, auto done) {
                    http::async_read_some(stream, parts_->buffer, parser, done);
                  })));
  return parser.is_done();
}

}  // namespace wdmoe::cli
