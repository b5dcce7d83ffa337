// What ends a running station: an exception on the engine's thread ends the process.

#include <stdexcept>

#include <doctest/doctest.h>

#include "bsd/station.h"
#include "common/event_fd.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

Config config() {
  Config config;
  config.model = WDMOE_SOURCE_DIR "/models/demo";
  config.http_listen = "127.0.0.1:0";
  config.local_experts = true;
  config.threads = 1;
  config.kv_cache_mib = 8;
  return config;
}

}  // namespace

TEST_CASE("station: what the engine's thread throws comes out of run()") {
  Station station(config());
  const EventFd never;
  CHECK_THROWS_WITH_AS(station.run(never.fd(), [] { throw std::runtime_error("out of memory"); }),
                       "out of memory", std::runtime_error);
}

TEST_CASE("station: run() returns once it is asked to stop") {
  Station station(config());
  EventFd stop;
  stop.signal();
  station.run(stop.fd(), [] {});
}
