#include "wire/socket.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include <zmq.h>

#include "common/check.h"
#include "wire/zap.h"

namespace wdmoe::wire {
namespace {

// zmq.h hides the name in a draft section; 4.3.x obeys the number nevertheless.
constexpr int kZapEnforceDomain = 93;

std::string zmq_reason() {
  return zmq_strerror(zmq_errno());
}

/// Sets options one after another; remembers the first that failed.
class Setter {
 public:
  explicit Setter(void* socket) : socket_(socket) {}
  Setter& number(int option, int value) { return set(option, &value, sizeof value); }
  Setter& number64(int option, std::int64_t value) { return set(option, &value, sizeof value); }
  Setter& text(int option, const char* value) { return set(option, value, std::strlen(value)); }
  Result<void> result() const {
    if (failed_ == 0) return {};
    return fail(Code::unsupported, "libzmq refuses socket option " + std::to_string(failed_) +
                                       ": " + zmq_strerror(reason_));
  }

 private:
  Setter& set(int option, const void* value, std::size_t size) {
    if (failed_ == 0 && zmq_setsockopt(socket_, option, value, size) != 0) {
      failed_ = option;
      reason_ = zmq_errno();
    }
    return *this;
  }
  void* socket_;
  int failed_ = 0, reason_ = 0;
};

int count_of(milliseconds duration) {
  return static_cast<int>(duration.count());
}

void set_common(Setter& set, const SocketOptions& options) {
  set.number64(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(options.limits.frame_bytes))
      .number(ZMQ_SNDHWM, options.high_water)
      .number(ZMQ_RCVHWM, options.high_water)
      .number(ZMQ_LINGER, 0)
      .number(ZMQ_HANDSHAKE_IVL, count_of(options.handshake))
      .number(ZMQ_TCP_MAXRT, count_of(options.tcp_give_up))
      .number(ZMQ_TCP_KEEPALIVE, 1)
      .number(ZMQ_TCP_KEEPALIVE_IDLE, 5)
      .number(ZMQ_TCP_KEEPALIVE_INTVL, 1)
      .number(ZMQ_TCP_KEEPALIVE_CNT, 3)
      .number(ZMQ_TOS, options.dscp << 2)  // the field's lower two bits are ECN's
      .number(ZMQ_IPV6, 1);
}

Sent outcome_of(int result) {
  if (result >= 0) return Sent::ok;
  switch (zmq_errno()) {
    case EHOSTUNREACH:
      return Sent::gone;
    case EAGAIN:
      return Sent::full;
    default:
      return Sent::failed;
  }
}

/// libzmq looks only now and then (by a cycle counter) for the credit that its I/O thread gives
/// back, and says EAGAIN for a queue that is long empty; asking for the events makes it look.  Seen
/// after 16 round trips in a row whose answers were there at first glance.
void take_credit(void* socket) {
  int events = 0;
  std::size_t size = sizeof events;
  zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size);
}

/// One part, without waiting.
int send_part(void* socket, const void* data, std::size_t size, int flags) {
  const int sent = zmq_send(socket, data, size, ZMQ_DONTWAIT | flags);
  if (sent >= 0 || zmq_errno() != EAGAIN) return sent;
  take_credit(socket);
  return zmq_send(socket, data, size, ZMQ_DONTWAIT | flags);
}

std::string last_endpoint(void* socket) {
  std::array<char, 256> text{};
  std::size_t size = text.size();
  if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, text.data(), &size) != 0) return {};
  return text.data();
}

/// A received part that frees itself.
struct Part {
  zmq_msg_t message;
  Part() { zmq_msg_init(&message); }
  ~Part() { zmq_msg_close(&message); }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  const char* property(const char* name) {  // "" if there is none
    const char* value = zmq_msg_gets(&message, name);
    return value == nullptr ? "" : value;
  }
  bool receive(void* socket) { return zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) >= 0; }
  bool more() { return zmq_msg_more(&message) != 0; }
  const void* data() { return zmq_msg_data(&message); }
  std::size_t size() { return zmq_msg_size(&message); }
};

void tell_source(Part& part, Source& source) {
  source.fd = zmq_msg_get(&part.message, ZMQ_SRCFD);
  source.address.assign(part.property("Peer-Address"));
}

/// The last part into `frame`; a message of several parts is read to its end and leaves it empty.
void receive_rest(void* socket, Part& body, Frame& frame) {
  if (!body.more()) {
    frame.assign(body.data(), body.size());
    return;
  }
  frame.clear();
  for (Part next; next.receive(socket) && next.more();) {
  }
}

std::optional<LinkEvent::Kind> kind_of(std::uint16_t event) {
  using Kind = LinkEvent::Kind;
  switch (event) {
    case ZMQ_EVENT_ACCEPTED:
    case ZMQ_EVENT_CONNECTED:
      return Kind::connected;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
      return Kind::ready;
    case ZMQ_EVENT_DISCONNECTED:
      return Kind::disconnected;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      return Kind::refused_key;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      return Kind::bad_handshake;
    case ZMQ_EVENT_CONNECT_RETRIED:
      return Kind::retrying;
    default:
      return std::nullopt;
  }
}

}  // namespace

Context::Context(int io_threads) : handle_(zmq_ctx_new()) {
  WDMOE_CHECK(handle_ != nullptr);
  WDMOE_CHECK(zmq_ctx_set(handle_, ZMQ_IO_THREADS, io_threads) == 0);
  zmq_ctx_set(handle_, ZMQ_MAX_SOCKETS, 4096);  // agents, and connections that are no agents
}

Context::~Context() {
  while (zmq_ctx_term(handle_) != 0 && zmq_errno() == EINTR) {
  }
}

Socket::~Socket() {
  if (handle_ != nullptr) zmq_close(handle_);
}

Socket::Socket(Socket&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    if (handle_ != nullptr) zmq_close(handle_);
    handle_ = std::exchange(other.handle_, nullptr);
  }
  return *this;
}

Result<Monitor> Monitor::open(const Context& context, const Socket& watched) {
  // Counted, not named after the socket: an address comes back while libzmq may still hold the
  // name.
  static std::atomic<std::uint64_t> count{0};
  std::array<char, 64> address{};
  std::snprintf(address.data(), address.size(), "inproc://monitor-%llu",
                static_cast<unsigned long long>(++count));
  constexpr int kEvents = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED |
                          ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                          ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                          ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_CONNECT_RETRIED;
  if (zmq_socket_monitor(watched.handle(), address.data(), kEvents) != 0)
    return fail(Code::io, "cannot watch connections: " + zmq_reason());
  Monitor monitor(Socket(zmq_socket(context.handle(), ZMQ_PAIR)), watched.handle());
  if (monitor.handle() == nullptr || zmq_connect(monitor.handle(), address.data()) != 0)
    return fail(Code::io, "cannot watch connections: " + zmq_reason());
  Setter set(monitor.handle());
  WDMOE_TRY(set.number(ZMQ_LINGER, 0).result());
  return monitor;
}

Monitor::Monitor(Monitor&& other) noexcept
    : pair_(std::move(other.pair_)), watched_(std::exchange(other.watched_, nullptr)) {}

void Monitor::detach() {
  if (watched_ != nullptr) zmq_socket_monitor(std::exchange(watched_, nullptr), nullptr, 0);
}

std::optional<LinkEvent> Monitor::next() {
  if (watched_ == nullptr) return std::nullopt;  // what was unread at detach() interests nobody
  for (;;) {
    Part head;  // event (16 bits), value (32 bits), unaligned
    if (!head.receive(pair_.handle())) return std::nullopt;
    Part endpoint;
    if (!head.more() || !endpoint.receive(pair_.handle())) return std::nullopt;
    std::uint16_t event = 0;
    if (head.size() >= sizeof event) std::memcpy(&event, head.data(), sizeof event);
    if (const auto kind = kind_of(event))
      return LinkEvent{*kind,
                       std::string(static_cast<const char*>(endpoint.data()), endpoint.size())};
  }
}

Router::Router(Socket socket, Monitor monitor, std::unique_ptr<Zap> zap, std::string endpoint)
    : zap_(std::move(zap)),
      socket_(std::move(socket)),
      monitor_(std::move(monitor)),
      endpoint_(std::move(endpoint)) {}

Router::~Router() = default;

Result<std::unique_ptr<Router>> Router::bind(const Context& context, const std::string& endpoint,
                                             const std::optional<ServerKeys>& keys,
                                             const SocketOptions& options) {
  Socket socket(zmq_socket(context.handle(), ZMQ_ROUTER));
  if (!socket.valid()) return fail(Code::io, "cannot make a socket: " + zmq_reason());
  Setter set(socket.handle());
  set_common(set, options);
  // Connections get routing ids from us; without ROUTER_HANDOVER a client that claims another's id
  // is turned away, so no key can evict another's connection.  Names are bound to keys above
  // (Roster).
  set.number(ZMQ_ROUTER_MANDATORY, 1).number(ZMQ_ROUTER_HANDOVER, 0).number(ZMQ_BACKLOG, 128);
  std::unique_ptr<Zap> zap;
  if (keys) {
    auto opened = Zap::open(context, keys->agents);
    if (!opened) return tl::unexpected<Error>(std::move(opened).error());
    zap = std::move(*opened);
    set.number(ZMQ_CURVE_SERVER, 1)
        .text(ZMQ_CURVE_SECRETKEY, keys->secret.reveal())
        .text(ZMQ_ZAP_DOMAIN, kZapDomain)
        .number(kZapEnforceDomain, 1);
  }
  WDMOE_TRY(set.result());
  auto monitor = Monitor::open(context, socket);
  if (!monitor) return tl::unexpected<Error>(std::move(monitor).error());
  if (zmq_bind(socket.handle(), endpoint.c_str()) != 0)
    return fail(Code::io, "cannot listen for agents on " + endpoint + ": " + zmq_reason());
  std::string bound = last_endpoint(socket.handle());
  return std::unique_ptr<Router>(new Router(std::move(socket), std::move(*monitor), std::move(zap),
                                            bound.empty() ? endpoint : bound));
}

bool Router::receive(Incoming& incoming) {
  Part identity;
  if (!identity.receive(socket_.handle())) return false;
  incoming.peer.assign(static_cast<const char*>(identity.data()), identity.size());
  Part body;
  if (!identity.more() || !body.receive(socket_.handle()))
    return false;  // libzmq sends whole messages
  incoming.user.assign(body.property("User-Id"));
  tell_source(body, incoming.source);
  receive_rest(socket_.handle(), body, incoming.frame);
  return true;
}

Sent Router::send(const PeerId& peer, Bytes frame) {
  const int head = send_part(socket_.handle(), peer.data(), peer.size(), ZMQ_SNDMORE);
  if (head < 0) return outcome_of(head);
  return outcome_of(send_part(socket_.handle(), frame.data(), frame.size(), 0));
}

void Router::linger(milliseconds duration) {
  const int value = count_of(duration);
  zmq_setsockopt(socket_.handle(), ZMQ_LINGER, &value, sizeof value);
}

void Router::authenticate() {
  if (zap_) zap_->serve();
}

std::uint64_t Router::keys_refused() const {
  return zap_ ? zap_->refused() : 0;
}
void* Router::zap_handle() const {
  return zap_ ? zap_->handle() : nullptr;
}

Result<std::unique_ptr<Dealer>> Dealer::connect(const Context& context, const std::string& endpoint,
                                                const std::optional<ClientKeys>& keys,
                                                const SocketOptions& options) {
  Socket socket(zmq_socket(context.handle(), ZMQ_DEALER));
  if (!socket.valid()) return fail(Code::io, "cannot make a socket: " + zmq_reason());
  Setter set(socket.handle());
  set_common(set, options);
  // IMMEDIATE: nothing queues for a link that is down.
  set.number(ZMQ_IMMEDIATE, 1)
      .number(ZMQ_RECONNECT_IVL, count_of(options.reconnect_first))
      .number(ZMQ_RECONNECT_IVL_MAX, count_of(options.reconnect_max));
  if (keys)
    set.text(ZMQ_CURVE_SERVERKEY, keys->server.c_str())
        .text(ZMQ_CURVE_PUBLICKEY, keys->own.public_key.c_str())
        .text(ZMQ_CURVE_SECRETKEY, keys->own.secret.reveal());
  WDMOE_TRY(set.result());
  auto monitor = Monitor::open(context, socket);
  if (!monitor) return tl::unexpected<Error>(std::move(monitor).error());
  if (zmq_connect(socket.handle(), endpoint.c_str()) != 0)
    return fail(Code::bad_input, "cannot connect to " + endpoint + ": " + zmq_reason() +
                                     "; expected tcp://HOST:PORT or ipc://PATH");
  return std::unique_ptr<Dealer>(new Dealer(std::move(socket), std::move(*monitor)));
}

bool Dealer::receive(Frame& frame) {
  Part body;
  if (!body.receive(socket_.handle())) return false;
  tell_source(body, source_);
  receive_rest(socket_.handle(), body, frame);
  return true;
}

Sent Dealer::send(Bytes frame) {
  return outcome_of(send_part(socket_.handle(), frame.data(), frame.size(), 0));
}

void Dealer::close(milliseconds linger) {
  const int value = count_of(linger);
  zmq_setsockopt(socket_.handle(), ZMQ_LINGER, &value, sizeof value);
  monitor_.detach();
  socket_ = Socket();
}

bool wait(Span<WaitItem> items, Nanoseconds timeout) {
  constexpr std::size_t kMost = 16;
  std::array<zmq_pollitem_t, kMost> polled{};
  WDMOE_CHECK(items.size() <= kMost);
  for (std::size_t i = 0; i < items.size(); ++i)
    polled[i] = {items[i].socket, items[i].fd, ZMQ_POLLIN, 0};
  constexpr Nanoseconds kMillisecond{1'000'000};
  const long timeout_ms =
      timeout.count() < 0
          ? -1
          : static_cast<long>((timeout + kMillisecond - Nanoseconds(1)) / kMillisecond);
  const int ready = zmq_poll(polled.data(), static_cast<int>(items.size()), timeout_ms);
  // A signal (EINTR) is a wake-up with nothing ready: the caller's loop goes round.
  for (std::size_t i = 0; i < items.size(); ++i)
    items[i].ready = ready > 0 && (polled[i].revents & (ZMQ_POLLIN | ZMQ_POLLERR)) != 0;
  return ready > 0;
}

}  // namespace wdmoe::wire
