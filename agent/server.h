#pragma once
// The agent's loop: one thread, one DEALER socket, one place to wait.  Reconnects for ever; a stop
// finishes what has arrived, says Goodbye and returns.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/handler.h"
#include "agent/health.h"
#include "agent/session.h"
#include "agent/uplink.h"
#include "common/clock.h"
#include "common/log.h"
#include "wire/messages.h"
#include "wire/socket.h"

namespace wdmoe::agent {

struct ServerOptions {
  std::string endpoint;
  std::optional<wire::ClientKeys> keys;
  wire::SocketOptions socket;
  microseconds spin{50};
};

/// What the loop tells the daemon shell.
struct ServerHooks {
  std::optional<milliseconds> watchdog;  ///< how often to call `alive`
  std::function<void()> alive = [] {};
  std::function<void(std::string_view)> status = [](std::string_view) {};
};

class Server {
 public:
  /// `hello` is what is announced on every connection; all references outlive the server.
  Server(const wire::Context& context, ServerOptions options, wire::Hello hello, Handler& handler,
         HealthSensors& sensors, const Clock& clock);

  /// Connects.  Errors: an endpoint or key that libzmq refuses.  A base station that is not there
  /// is no error: the loop waits for it.
  Result<void> open();

  /// Returns once `stop_fd` is readable, Goodbye is sent and the socket is closed.
  void run(int stop_fd, const ServerHooks& hooks);

 private:
  void serve_frames();
  void take(Bytes frame, Instant received);
  void watch_link();
  void say_no_connection();
  void act();
  void announce_backend();
  void send(Bytes frame, const char* what);
  bool spin();
  bool sleep(int stop_fd);
  Instant beat(Instant now);
  void report_state();
  void leave();

  const wire::Context& context_;
  ServerOptions options_;
  wire::Hello hello_;
  Handler& handler_;
  HealthSensors& sensors_;
  const Clock& clock_;

  std::unique_ptr<wire::Dealer> dealer_;
  Session session_;
  std::string backend_;  ///< what computes, as last announced
  Uplink uplink_;
  Session::State reported_ = Session::State::connecting;
  wire::Encoder encoder_;
  wire::Frame frame_;
  std::uint64_t pings_ = 0;
  ServerHooks hooks_;
  Instant next_alive_{}, next_look_{};
  log::RateLimit bad_frames_{milliseconds(10'000)}, lost_answers_{milliseconds(10'000)},
      no_connection_{milliseconds(30'000)};
};

}  // namespace wdmoe::agent
