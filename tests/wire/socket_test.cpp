#include "wire/socket.h"

#include <algorithm>
#include <functional>
#include <vector>

#include <doctest/doctest.h>
#include <zmq.h>

#include "common/event_fd.h"
#include "tests/support/temp_folder.h"
#include "wire/zap.h"

using namespace wdmoe;
using namespace wdmoe::wire;

namespace {

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string text_of(const Frame& frame) {
  return {reinterpret_cast<const char*>(frame.bytes().data()), frame.bytes().size()};
}

struct Pair {
  explicit Pair(const std::string& endpoint, std::optional<ServerKeys> server = {},
                std::optional<ClientKeys> client = {}, const SocketOptions& options = {}) {
    auto bound = Router::bind(context, endpoint, server, options);
    REQUIRE_MESSAGE(bound, bound.error().text);
    router = std::move(*bound);
    auto connected = Dealer::connect(context, router->endpoint(), client, options);
    REQUIRE_MESSAGE(connected, connected.error().text);
    dealer = std::move(*connected);
  }

  /// Sleeps for either side's traffic and events, until `done`; the bound ends a failed test.
  bool until(const std::function<bool()>& done) {
    for (int round = 0; round < 2000; ++round) {
      if (done()) return true;
      WaitItem items[5] = {{router->handle()},
                           {router->monitor_handle()},
                           {dealer->monitor_handle()},
                           {dealer->handle()},
                           {router->zap_handle()}};
      wait({items, router->zap_handle() == nullptr ? 4u : 5u}, milliseconds(10));
      router->authenticate();
      while (const auto event = router->next_event()) router_events.push_back(event->kind);
      while (const auto event = dealer->next_event()) dealer_events.push_back(event->kind);
    }
    return false;
  }
  bool sent(const std::string& text) {
    return until([&] { return dealer->send(bytes_of(text)) == Sent::ok; });
  }
  using Kinds = std::vector<LinkEvent::Kind>;
  bool saw(const Kinds& events, LinkEvent::Kind kind) {
    return until([&] { return std::count(events.begin(), events.end(), kind) > 0; });
  }
  Kinds router_events, dealer_events;

  Context context;
  std::unique_ptr<Router> router;
  std::unique_ptr<Dealer> dealer;
  Incoming incoming;
  Frame frame;
};

struct Keys {
  KeyPair server = *make_keys(), agent = *make_keys(), stranger = *make_keys();
  ServerKeys listed() const { return {server.secret, {{agent.public_key, "jetson"}}}; }
};

}  // namespace

TEST_CASE("socket: frames go both ways over tcp and ipc, in aligned memory") {
  const test::TempFolder folder;
  for (const std::string& endpoint : {std::string("tcp://127.0.0.1:*"), folder.ipc("router")}) {
    CAPTURE(endpoint);
    Pair pair(endpoint);
    for (const std::size_t size : {0u, 1u, 100u, 8000u, 100'000u}) {
      CAPTURE(size);
      const std::string text(size, 'x');
      REQUIRE(pair.sent(text));
      REQUIRE(pair.until([&] { return pair.router->receive(pair.incoming); }));
      CHECK(text_of(pair.incoming.frame) == text);
      CHECK(reinterpret_cast<std::uintptr_t>(pair.incoming.frame.bytes().data()) %
                Frame::kAlignment ==
            0);
      CHECK(pair.incoming.user.empty());
      CHECK(pair.router->send(pair.incoming.peer, bytes_of(text)) == Sent::ok);
      REQUIRE(pair.until([&] { return pair.dealer->receive(pair.frame); }));
      CHECK(text_of(pair.frame) == text);
    }
  }
}

TEST_CASE("socket: CURVE carries the agent's name with every message") {
  const Keys keys;
  Pair pair("tcp://127.0.0.1:*", keys.listed(), ClientKeys{keys.agent, keys.server.public_key});
  REQUIRE(pair.sent("hi"));
  REQUIRE(pair.until([&] { return pair.router->receive(pair.incoming); }));
  CHECK(pair.incoming.user == "jetson");
}

TEST_CASE("socket: an unknown key, a wrong server key and plaintext get nothing through") {
  const Keys keys;
  {
    Pair pair("tcp://127.0.0.1:*", keys.listed(),
              ClientKeys{keys.stranger, keys.server.public_key});
    CHECK(pair.saw(pair.dealer_events, LinkEvent::Kind::refused_key));
    CHECK(pair.router->keys_refused() >= 1);
    CHECK_FALSE(pair.router->receive(pair.incoming));
  }
  {
    SocketOptions quick;
    quick.handshake = milliseconds(100);
    Pair pair("tcp://127.0.0.1:*", keys.listed(), ClientKeys{keys.agent, keys.stranger.public_key},
              quick);
    CHECK(pair.saw(pair.dealer_events, LinkEvent::Kind::disconnected));
    CHECK(pair.dealer->send(bytes_of("x")) != Sent::ok);
    CHECK_FALSE(pair.router->receive(pair.incoming));
  }
  {
    Pair pair("tcp://127.0.0.1:*", keys.listed(), std::nullopt);
    CHECK(pair.saw(pair.router_events, LinkEvent::Kind::bad_handshake));
    CHECK_FALSE(pair.router->receive(pair.incoming));
  }
}

TEST_CASE("socket: a frame beyond the limit ends the connection") {
  SocketOptions small;
  small.limits.frame_bytes = 1000;
  Pair pair("tcp://127.0.0.1:*", {}, {}, small);
  REQUIRE(pair.sent(std::string(1000, 'x')));
  REQUIRE(pair.until([&] { return pair.router->receive(pair.incoming); }));
  REQUIRE(pair.sent(std::string(1001, 'x')));
  CHECK(pair.saw(pair.dealer_events, LinkEvent::Kind::disconnected));
  CHECK_FALSE(pair.router->receive(pair.incoming));
}

TEST_CASE("socket: a queue that the peer has emptied takes the next message at once") {
  SocketOptions narrow;
  narrow.high_water = 1;
  Pair pair("tcp://127.0.0.1:*", {}, {}, narrow);
  REQUIRE(pair.sent("hello"));
  REQUIRE(pair.until([&] { return pair.router->receive(pair.incoming); }));
  for (int round = 0; round < 500; ++round) {
    REQUIRE(pair.router->send(pair.incoming.peer, bytes_of("x")) == Sent::ok);
    while (!pair.dealer->receive(pair.frame)) {
    }
    REQUIRE(pair.dealer->send(bytes_of("y")) == Sent::ok);
    while (!pair.router->receive(pair.incoming)) {
    }
  }
}

TEST_CASE("socket: sending to a connection that is gone says so") {
  Pair pair("tcp://127.0.0.1:*");
  REQUIRE(pair.sent("hi"));
  REQUIRE(pair.until([&] { return pair.router->receive(pair.incoming); }));
  CHECK(pair.router->send("never was", bytes_of("x")) == Sent::gone);
  pair.dealer->close(milliseconds(0));
  for (int round = 0; round < 2000; ++round) {
    if (pair.router->send(pair.incoming.peer, bytes_of("x")) == Sent::gone) break;
    WaitItem item{pair.router->monitor_handle()};
    wait({&item, 1}, milliseconds(1));
    while (pair.router->next_event()) {
    }
  }
  CHECK(pair.router->send(pair.incoming.peer, bytes_of("x")) == Sent::gone);
}

TEST_CASE("socket: a monitor that goes first leaves its socket working") {
  // libzmq's I/O thread tells the monitor's other end of every connection; gone but not detached,
  // that end would keep the thread waiting for ever (libzmq #3575).
  Context context;
  Socket dealer(zmq_socket(context.handle(), ZMQ_DEALER));
  REQUIRE(dealer.valid());
  REQUIRE(Monitor::open(context, dealer));  // and gone again
  for (int round = 0; round < 5; ++round) {
    CAPTURE(round);
    const auto router = Router::bind(context, "tcp://127.0.0.1:0", {}, {}).value();
    REQUIRE(zmq_connect(dealer.handle(), router->endpoint().c_str()) == 0);
    REQUIRE(zmq_send(dealer.handle(), "hello", 5, 0) == 5);
    Incoming incoming;
    bool came = false;
    for (int look = 0; look < 500 && !came; ++look) {  // the bound ends a failed test
      WaitItem item{router->handle()};
      wait({&item, 1}, milliseconds(10));
      came = router->receive(incoming);
    }
    REQUIRE(came);
    CHECK(text_of(incoming.frame) == "hello");
    REQUIRE(zmq_disconnect(dealer.handle(), router->endpoint().c_str()) == 0);
  }
}

TEST_CASE("socket: a dealer that is closed has no more events") {
  Pair pair("ipc:///tmp/wdmoe-socket-test-close");
  REQUIRE(pair.sent("hello"));
  pair.dealer->close(milliseconds(100));
  CHECK_FALSE(pair.dealer->next_event());
}

TEST_CASE("socket: impossible endpoints are named") {
  const Context context;
  const auto bound = Router::bind(context, "carrier-pigeon://x", {}, {});
  REQUIRE_FALSE(bound);
  CHECK(bound.error().text.find("carrier-pigeon://x") != std::string::npos);
  const auto connected = Dealer::connect(context, "127.0.0.1", {}, {});
  REQUIRE_FALSE(connected);
  CHECK(connected.error().text.find("tcp://HOST:PORT") != std::string::npos);
}

TEST_CASE("socket: wait wakes for a file descriptor") {
  EventFd event;
  WaitItem item{nullptr, event.fd()};
  CHECK_FALSE(wait({&item, 1}, milliseconds(0)));
  event.signal();
  CHECK(wait({&item, 1}, milliseconds(-1)));
  CHECK(item.ready);
}

TEST_CASE("zap: only a key of the right size in the list has a name") {
  const Keys keys;
  const AllowList agents = keys.listed().agents;
  CHECK(find_agent(agents, {}).empty());
  const std::vector<std::byte> zero(32), long_key(33);
  CHECK(find_agent(agents, zero).empty());
  CHECK(find_agent(agents, long_key).empty());
}
