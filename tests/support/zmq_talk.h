#pragma once
// A router and a dealer of one process, after a message each way: both ends of one connection.

#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "wire/socket.h"

namespace wdmoe::test {

struct ZmqTalk {
  explicit ZmqTalk(const std::string& endpoint, const wire::SocketOptions& options = {}) {
    router = wire::Router::bind(context, endpoint, {}, options).value();
    dealer = wire::Dealer::connect(context, router->endpoint(), {}, options).value();
    const std::byte word{42};
    // The bounds end a failed test.
    for (int i = 0; i < 2000 && dealer->send({&word, 1}) != wire::Sent::ok; ++i) pause();
    for (int i = 0; i < 2000 && !router->receive(incoming); ++i) pause();
    REQUIRE(router->send(incoming.peer, {&word, 1}) == wire::Sent::ok);
    bool came = false;
    for (int i = 0; i < 2000 && !came; ++i) {
      came = dealer->receive(frame);
      if (!came) pause();
    }
    REQUIRE(came);
  }
  void pause() {
    wire::WaitItem items[3] = {{router->handle()}, {dealer->handle()}, {dealer->monitor_handle()}};
    wire::wait({items, 3}, milliseconds(10));
    while (dealer->next_event()) {
    }
  }

  wire::Context context;
  std::unique_ptr<wire::Router> router;
  std::unique_ptr<wire::Dealer> dealer;
  wire::Incoming incoming;
  wire::Frame frame;
};

}  // namespace wdmoe::test
