#pragma once
// ZeroMQ sockets with everything set that libzmq leaves open: sizes, queues, hand-shakes, CURVE.
// A Router (base station) and a Dealer (agent) move whole frames and never block; wait() sleeps
// until one of several sockets or file descriptors has something.  A socket belongs to one thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/result.h"
#include "common/span.h"
#include "wire/connection.h"
#include "wire/frame.h"
#include "wire/keys.h"
#include "wire/limits.h"

namespace wdmoe::wire {

/// libzmq's I/O threads.  Outlives every socket made from it; callable from any thread.
class Context {
 public:
  explicit Context(int io_threads = 1);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  void* handle() const { return handle_; }

 private:
  void* handle_;
};

struct SocketOptions {
  Limits limits;
  /// Messages queued per peer and direction: a layer has one outstanding; the rest are pings.
  int high_water = 16;
  milliseconds handshake{3'000};    ///< a peer that does not finish CURVE by then is dropped
  milliseconds tcp_give_up{3'000};  ///< unacknowledged data for this long ends the connection
  milliseconds reconnect_first{100}, reconnect_max{5'000};
  int dscp = 0;  ///< of all packets, 0 to 63: which queue Wi-Fi (WMM) and routers put them in
};

/// What happened to a connection, from libzmq's monitor.
struct LinkEvent {
  enum class Kind { connected, ready, disconnected, refused_key, bad_handshake, retrying };
  Kind kind;
  std::string endpoint;
};

/// One zmq socket, closed with its owner.
class Socket {
 public:
  Socket() = default;
  explicit Socket(void* handle) : handle_(handle) {}
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  void* handle() const { return handle_; }
  bool valid() const { return handle_ != nullptr; }

 private:
  void* handle_ = nullptr;
};

/// The inproc end of a socket's monitor.  Its destructor detaches it from the socket first:
/// libzmq's I/O thread would wait for ever to tell a PAIR that nobody reads any more (libzmq
/// #3575).  So it goes before the socket it watches.
class Monitor {
 public:
  static Result<Monitor> open(const Context& context, const Socket& watched);
  ~Monitor() { detach(); }
  Monitor(Monitor&& other) noexcept;
  Monitor& operator=(Monitor&&) = delete;
  void detach();                    ///< no events from now on; again: does nothing
  std::optional<LinkEvent> next();  ///< the oldest unread event; never blocks
  void* handle() const { return pair_.handle(); }

 private:
  Monitor(Socket pair, void* watched) : pair_(std::move(pair)), watched_(watched) {}
  Socket pair_;
  void* watched_;  // nullptr: detached
};

/// Routing id of one connection, given by us: unforgeable, gone with the connection.
using PeerId = std::string;

struct Incoming {
  PeerId peer;
  std::string user;  ///< the authenticated name (ZAP's User-Id); empty without CURVE
  Source source;     ///< the connection it came over
  Frame frame;       ///< empty when the peer sent anything but one frame
};

enum class Sent { ok, gone, full, failed };

class Zap;

/// The base station's end.  With keys it also answers libzmq's authentication requests: call
/// authenticate() whenever zap_handle() is readable, at least every few hundred milliseconds.
class Router {
 public:
  /// Without `keys` there is no encryption and no authentication.  Errors name the endpoint.
  static Result<std::unique_ptr<Router>> bind(const Context& context, const std::string& endpoint,
                                              const std::optional<ServerKeys>& keys,
                                              const SocketOptions& options);
  ~Router();

  bool receive(Incoming& incoming);  ///< false: nothing there.  Reuses the frame's memory.
  Sent send(const PeerId& peer, Bytes frame);
  /// What was sent may take this long to go out after the Router's end (the Context's destructor
  /// waits).  Without: nothing is waited for.
  void linger(milliseconds duration);

  void authenticate();
  std::optional<LinkEvent> next_event() { return monitor_.next(); }
  std::uint64_t keys_refused() const;

  const std::string& endpoint() const { return endpoint_; }  ///< with the port that was chosen
  void* handle() const { return socket_.handle(); }
  void* monitor_handle() const { return monitor_.handle(); }
  void* zap_handle() const;  ///< nullptr without keys

 private:
  Router(Socket socket, Monitor monitor, std::unique_ptr<Zap> zap, std::string endpoint);
  // The ZAP socket must be there before the first connection and go after the last.
  std::unique_ptr<Zap> zap_;
  Socket socket_;
  Monitor monitor_;
  std::string endpoint_;
};

/// An agent's end.
class Dealer {
 public:
  static Result<std::unique_ptr<Dealer>> connect(const Context& context,
                                                 const std::string& endpoint,
                                                 const std::optional<ClientKeys>& keys,
                                                 const SocketOptions& options);

  bool receive(Frame& frame);  ///< false: nothing there
  /// The connection that the last frame came over.
  const Source& source() const { return source_; }
  Sent send(Bytes frame);
  /// No further use; what was sent may take `linger` to go out (the Context's destructor waits).
  void close(milliseconds linger);

  std::optional<LinkEvent> next_event() { return monitor_.next(); }
  void* handle() const { return socket_.handle(); }
  void* monitor_handle() const { return monitor_.handle(); }

 private:
  Dealer(Socket socket, Monitor monitor)
      : socket_(std::move(socket)), monitor_(std::move(monitor)) {}
  Socket socket_;
  Monitor monitor_;
  Source source_;
};

/// What wait() waits for: a zmq socket, or a file descriptor when `socket` is nullptr.
struct WaitItem {
  void* socket = nullptr;
  int fd = -1;
  bool ready = false;  ///< set by wait()
};

/// Sleeps until an item is ready or `timeout` (rounded up to milliseconds) is over; negative: for
/// ever.  True if any is ready.  At most 16 items: more would make libzmq allocate.
bool wait(Span<WaitItem> items, Nanoseconds timeout);

}  // namespace wdmoe::wire
