#pragma once
// The bytes of one connection, with TLS or without: what a session reads and writes.  io thread.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace boost::asio::ssl {
class context;
}

namespace wdmoe::bsd::api {

/// TLS 1.2 and later with a certificate chain and its key, both PEM; for servers.
/// Throws std::runtime_error naming the file that is wrong.
std::shared_ptr<boost::asio::ssl::context> load_tls(const std::string& certificate,
                                                    const std::string& key);

class Stream {
 public:
  using ErrorCode = boost::system::error_code;
  using Done = std::function<void(const ErrorCode&)>;
  using Moved = std::function<void(const ErrorCode&, std::size_t)>;

  /// `tls` is null for plain text; it outlives the stream.
  Stream(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context* tls);
  ~Stream();

  boost::asio::ip::tcp::socket::executor_type executor() { return socket_.get_executor(); }
  void set_no_delay();

  /// Before anything else.  Plain text: done at once, and nothing is called.
  bool needs_handshake() const { return tls_ != nullptr; }
  void handshake(Done done);

  // One read and one write may be under way; the buffer lives until its call.
  void read_some(boost::asio::mutable_buffer buffer, Moved moved);
  void write_some(boost::asio::const_buffer buffer, Moved moved);
  /// Nothing more will be written; reading goes on.  `keep_alive` is held while that takes time.
  void end_writing(std::shared_ptr<void> keep_alive);
  void close();

 private:
  struct Tls;
  boost::asio::ip::tcp::socket socket_;
  std::unique_ptr<Tls> tls_;
};

}  // namespace wdmoe::bsd::api
