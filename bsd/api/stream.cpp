#include "bsd/api/stream.h"

#include <stdexcept>
#include <utility>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

namespace wdmoe::bsd::api {

namespace asio = boost::asio;
using asio::ip::tcp;

struct Stream::Tls {
  Tls(tcp::socket& socket, asio::ssl::context& context) : stream(socket, context) {}
  asio::ssl::stream<tcp::socket&> stream;
};

std::shared_ptr<asio::ssl::context> load_tls(const std::string& certificate,
                                             const std::string& key) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX* const native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  boost::system::error_code error;
  const auto step = [&](const char* setting, const std::string& file, const char* expected) {
    if (error)
      throw std::runtime_error(std::string(setting) + " = " + file + ": " + error.message() +
                               "; expected " + expected);
  };
  context->use_certificate_chain_file(certificate, error);
  step("http.tls_certificate", certificate, "a PEM file with the server's certificate first");
  context->use_private_key_file(key, asio::ssl::context::pem, error);
  step("http.tls_key", key, "the PEM private key of that certificate, without a passphrase");
  return context;
}

Stream::Stream(tcp::socket socket, asio::ssl::context* tls)
    : socket_(std::move(socket)),
      tls_(tls == nullptr ? nullptr : std::make_unique<Tls>(socket_, *tls)) {}

Stream::~Stream() = default;

void Stream::set_no_delay() {
  ErrorCode ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
}

void Stream::handshake(Done done) {
  tls_->stream.async_handshake(asio::ssl::stream_base::server, std::move(done));
}

void Stream::read_some(asio::mutable_buffer buffer, Moved moved) {
  if (tls_)
    tls_->stream.async_read_some(buffer, std::move(moved));
  else
    socket_.async_read_some(buffer, std::move(moved));
}

void Stream::write_some(asio::const_buffer buffer, Moved moved) {
  if (tls_)
    tls_->stream.async_write_some(buffer, std::move(moved));
  else
    socket_.async_write_some(buffer, std::move(moved));
}

/// TLS says so itself (close_notify), or a client could not tell an end from a cut.
void Stream::end_writing(std::shared_ptr<void> keep_alive) {
  ErrorCode ignored;
  if (!tls_) {
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    return;
  }
  tls_->stream.async_shutdown([keep_alive = std::move(keep_alive)](const ErrorCode&) {});
}

void Stream::close() {
  ErrorCode ignored;
  socket_.close(ignored);
}

}  // namespace wdmoe::bsd::api
