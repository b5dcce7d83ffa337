#pragma once
// One HTTP connection.  It always reads, also while an answer is under way: that is how it learns
// at once that the client has gone.  A client that closes its sending side counts as gone.  io
// thread.

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bsd/api/exchange.h"
#include "bsd/api/http.h"
#include "bsd/api/server.h"
#include "bsd/api/stream.h"

namespace wdmoe::bsd::api {

/// What sessions share.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  virtual const Settings& settings() const = 0;
  virtual const Hooks& hooks() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual std::string fresh_name() = 0;  ///< unique, for request ids
  virtual std::uint64_t fresh_seed() = 0;
  virtual RequestId reserve_ids(std::size_t count) = 0;
  virtual bool draining() const = 0;
  virtual boost::asio::ssl::context* tls() = 0;  ///< nullptr: plain text
};

class Session final : public std::enable_shared_from_this<Session> {
 public:
  /// The host lives as long as any session.
  Session(boost::asio::ip::tcp::socket socket, std::shared_ptr<SessionHost> host);

  void start();
  void close();          ///< at once; cancels what runs
  void close_if_idle();  ///< unless a request is in progress
  /// Since when it waits for a whole request; nothing while one is in progress.
  std::optional<std::chrono::steady_clock::time_point> waiting_since() const;

 private:
  using Timer = boost::asio::steady_timer;
  using ErrorCode = boost::system::error_code;

  // Reading
  void begin();
  void read();
  void on_read(const ErrorCode& error, std::size_t size);
  void take_input();
  void wait_for_request();
  void wait_for_more();
  void refuse_input(const ApiError& error);

  // Answering
  void handle(HttpRequest request);
  void begin_call(CallKind kind, const HttpRequest& request);
  void on_event(std::uint64_t serial, std::size_t choice, TokenEvent event);
  void deliver(std::string streamed);
  void finish_call(unsigned status);
  void fail_call(const ApiError& error);
  void respond(const HttpResponse& response);
  void end_response();
  void client_gone();
  void observe(const TokenEvent& event);
  void retry();

  // Writing
  void send(std::string bytes);
  void write();
  void on_written(const ErrorCode& error, std::size_t size);

  void arm(Timer& timer, std::chrono::milliseconds after, void (Session::*on_time)());
  static void disarm(Timer& timer);
  void ping();

  Stream stream_;
  std::shared_ptr<SessionHost> host_;
  RequestReader reader_;
  std::array<char, 16 * 1024> chunk_;
  std::string input_;             // received, not yet understood
  std::string unsent_, sending_;  // to be written; being written
  std::size_t sent_ = 0;          // of sending_
  bool reading_ = false, writing_ = false, busy_ = false, lingering_ = false, closed_ = false;
  bool head_timed_ = false, body_timed_ = false;  // their time has begun
  std::chrono::steady_clock::time_point idle_since_;
  ResponseFraming framing_;

  std::optional<Exchange> exchange_;
  std::uint64_t serial_ = 0;  // of the exchange; late events of an earlier one are told by it
  std::chrono::steady_clock::time_point began_, last_token_;
  bool token_seen_ = false;
  bool stream_begun_ = false;  // its head is on the way

  Timer read_timer_, write_timer_, ping_timer_, retry_timer_;
};

}  // namespace wdmoe::bsd::api
