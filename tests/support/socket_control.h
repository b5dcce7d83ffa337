#pragma once
// Whether this kernel's interface answers for TCP sockets.  qemu-user passes neither
// SO_MAX_PACING_RATE nor TCP_INFO on, so cross-built tests skip what needs them:
// TEST_CASE("…" * doctest::skip(!test::controls_sockets())).

#include <cstdint>

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/fd.h"

namespace wdmoe::test {

inline bool controls_sockets() {
  const OwnedFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::uint64_t set = 1'000'000;
  std::uint64_t read = 0;
  socklen_t size = sizeof read;
  return ::setsockopt(fd.get(), SOL_SOCKET, SO_MAX_PACING_RATE, &set, sizeof set) == 0 &&
         ::getsockopt(fd.get(), SOL_SOCKET, SO_MAX_PACING_RATE, &read, &size) == 0 && read == set;
}

}  // namespace wdmoe::test
