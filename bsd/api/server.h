#pragma once
// Prompt in, text out: the OpenAI-style HTTP API of the base station.  Lives on the io thread,
// which runs the io_context; engine events arrive there by asio::post.

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "bsd/api/hooks.h"
#include "bsd/model/tokenizer.h"

namespace boost::asio {
class io_context;
}

namespace wdmoe::bsd::api {

struct Settings {
  std::string listen = "127.0.0.1:8080";  ///< address:port, [address]:port; port 0: any free one
  int inherited_fd = -1;  ///< a listening socket (systemd) that takes `listen`'s place
  std::string tls_certificate, tls_key;  ///< PEM files; empty: plain HTTP
  bool insecure = false;                 ///< may be reached from outside without keys and TLS
  /// With all of them taken, a new one takes the place of the one that has waited longest for a
  /// request.
  std::size_t max_connections = 256;
  std::size_t max_body_bytes = std::size_t{4} << 20;
  std::size_t max_header_bytes = std::size_t{16} << 10;
  std::size_t max_unsent_bytes = std::size_t{4} << 20;  ///< of a stream whose reader is slow
  std::chrono::milliseconds idle_timeout{
      60'000};  ///< from the end of a response to the next request's first byte
  std::chrono::milliseconds header_timeout{10'000};  ///< of a header, and of a TLS handshake
  std::chrono::milliseconds body_timeout{60'000};    ///< from the header to the body's end
  std::chrono::milliseconds write_timeout{30'000};   ///< without any progress of the reader
  std::chrono::milliseconds ping_interval{10'000};   ///< comment line after this much silence
  ModelInfo model;
  ChatFormat chat;
};

/// Throws std::runtime_error saying what is wrong with `listen`, or that it can be reached from
/// outside with neither keys and TLS nor settings.insecure; opens nothing.
void check_listen(const Settings& settings, const Hooks& hooks);

class Server {
 public:
  /// Binds and listens at once; throws std::runtime_error as check_listen(), and naming the
  /// setting that cannot be followed.
  /// Everything passed in outlives the server; the io_context must be run by one thread only.
  /// Engine events that come after the server's end are dropped, but the io_context has to outlive
  /// them.
  Server(boost::asio::io_context& io, Settings settings, Hooks hooks, const Tokenizer& tokenizer);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::string url() const;  ///< http://address:port, the real port
  std::size_t connections() const;

  /// No new connections, and those without a request in progress close; running answers go on.
  void stop_accepting();
  /// Closes every connection and cancels its requests.
  void close();

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace wdmoe::bsd::api
