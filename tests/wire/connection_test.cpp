#include "wire/connection.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fd.h"
#include "tests/support/socket_control.h"
#include "tests/support/temp_folder.h"
#include "tests/support/zmq_talk.h"

using namespace wdmoe;
using namespace wdmoe::wire;

namespace {

int tos_of(int fd) {
  int tos = -1;
  socklen_t size = sizeof tos;
  REQUIRE(::getsockopt(fd, IPPROTO_IP, IP_TOS, &tos, &size) == 0);
  return tos;
}

}  // namespace

TEST_CASE("connection: both ends of a TCP connection are found from a message" *
          doctest::skip(!test::controls_sockets())) {
  test::ZmqTalk talk("tcp://127.0.0.1:*");
  const auto station = Connection::find(talk.incoming.source);
  const auto agent = Connection::find(talk.dealer->source());
  REQUIRE(station);
  REQUIRE(agent);
  CHECK(agent->address() == "127.0.0.1");
  CHECK(station->address() == "127.0.0.1");
  CHECK(station->is(talk.incoming.source));
  CHECK_FALSE(station->is(talk.dealer->source()));
  const auto info = agent->info();
  REQUIRE(info);
  CHECK(info->rtt.count() > 0);
  CHECK(info->acked_bytes >= 64);  // ZeroMQ's greeting
}

TEST_CASE("connection: over ipc there is none") {
  const test::TempFolder folder;
  test::ZmqTalk talk(folder.ipc("router"));
  CHECK_FALSE(Connection::find(talk.incoming.source));
  CHECK_FALSE(Connection::find(talk.dealer->source()));
}

TEST_CASE("connection: a descriptor that leads elsewhere is not touched") {
  test::ZmqTalk talk("tcp://127.0.0.1:*");
  const auto station = Connection::find(talk.incoming.source);
  REQUIRE(station);
  CHECK_FALSE(Connection::find({talk.incoming.source.fd, "127.0.0.2"}));
  CHECK_FALSE(Connection::find({talk.incoming.source.fd, ""}));
  CHECK_FALSE(Connection::find({-1, "127.0.0.1"}));
  const OwnedFd file(::dup(2));
  CHECK_FALSE(Connection::find({file.get(), "127.0.0.1"}));
  // The same number, another socket.
  const OwnedFd spare(::socket(AF_INET, SOCK_STREAM, 0));
  const int kept = ::dup(talk.incoming.source.fd);
  const OwnedFd keeper(kept);
  REQUIRE(::dup2(spare.get(), talk.incoming.source.fd) >= 0);
  CHECK_FALSE(station->alive());
  CHECK_FALSE(station->info());
  CHECK_FALSE(station->pace(BitsPerSecond(1e6)));
  CHECK_FALSE(station->set_priority(1));
  REQUIRE(::dup2(keeper.get(), talk.incoming.source.fd) >= 0);
  CHECK(station->alive());
}

TEST_CASE("connection: pacing and priority are read back as set" *
          doctest::skip(!test::controls_sockets())) {
  test::ZmqTalk talk("tcp://127.0.0.1:*");
  const auto agent = Connection::find(talk.dealer->source());
  REQUIRE(agent);
  CHECK(agent->pacing()->value() == 0);
  REQUIRE(agent->pace(BitsPerSecond(8e6)));
  CHECK(agent->pacing()->value() == 8e6);
  REQUIRE(agent->pace(BitsPerSecond(0)));
  CHECK(agent->pacing()->value() == 0);
  REQUIRE(agent->set_priority(5));
  CHECK(*agent->priority() == 5);
}

TEST_CASE("connection: the DSCP of the options is on both ends") {
  SocketOptions options;
  options.dscp = 46;
  test::ZmqTalk talk("tcp://127.0.0.1:*", options);
  CHECK(tos_of(talk.incoming.source.fd) == 46 << 2);
  CHECK(tos_of(talk.dealer->source().fd) == 46 << 2);
}
