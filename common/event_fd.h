#pragma once
// A level-triggered flag that a poll can wait for: readable from signal() until clear().
// Every method is callable from any thread.

#include <cstdint>

#include <sys/eventfd.h>

#include "common/check.h"
#include "common/fd.h"

namespace wdmoe {

class EventFd {
 public:
  EventFd() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { WDMOE_CHECK(fd_.valid()); }

  int fd() const { return fd_.get(); }

  void signal() {
    const std::uint64_t one = 1;
    // EAGAIN means 2^64-2 signals are pending: readable all the same.
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
  }

  void clear() {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(fd_.get(), &count, sizeof count);  // EAGAIN: was clear
  }

 private:
  OwnedFd fd_;
};

}  // namespace wdmoe
