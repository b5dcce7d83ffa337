// bounded_queue.h and latest.h: the doors between threads.

#include <memory>
#include <thread>

#include <doctest/doctest.h>
#include <poll.h>

#include "common/bounded_queue.h"
#include "common/latest.h"

using namespace wdmoe;

namespace {
bool readable(int fd) {
  pollfd item{fd, POLLIN, 0};
  return ::poll(&item, 1, 0) == 1;
}
}  // namespace

TEST_CASE("queue: first in, first out, full and empty are told") {
  BoundedQueue<std::unique_ptr<int>> queue(2);
  CHECK_FALSE(queue.try_pop().has_value());
  auto one = std::make_unique<int>(1);
  CHECK(queue.try_push(std::move(one)));
  CHECK(queue.try_push(std::make_unique<int>(2)));
  auto three = std::make_unique<int>(3);
  CHECK_FALSE(queue.try_push(std::move(three)));
  REQUIRE(three);  // untouched when refused
  CHECK(queue.size() == 2);
  CHECK(**queue.try_pop() == 1);
  CHECK(**queue.try_pop() == 2);
  queue.close();
  CHECK_FALSE(queue.try_push(std::move(three)));
}

TEST_CASE("queue: its fd is readable exactly while something is inside") {
  BoundedQueue<int> queue(3);
  CHECK_FALSE(readable(queue.fd()));
  for (int round = 0; round < 3; ++round) {
    REQUIRE(queue.try_push(1));
    REQUIRE(queue.try_push(2));
    CHECK(readable(queue.fd()));
    queue.try_pop();
    CHECK(readable(queue.fd()));
    queue.try_pop();
    CHECK_FALSE(readable(queue.fd()));
  }
}

TEST_CASE("queue: nothing is lost or doubled between two threads") {
  constexpr int kCount = 20'000;
  BoundedQueue<int> queue(16);
  std::thread producer([&] {
    for (int value = 0; value < kCount; ++value)
      while (!queue.try_push(value)) std::this_thread::yield();
  });
  int expected = 0;
  while (expected < kCount) {
    pollfd item{queue.fd(), POLLIN, 0};
    ::poll(&item, 1, 10'000);
    while (const auto value = queue.try_pop()) REQUIRE(*value == expected++);
  }
  producer.join();
  CHECK_FALSE(readable(queue.fd()));
}

TEST_CASE("latest: the newest whole value is read") {
  Latest<std::pair<int, int>> latest;
  std::thread writer([&] {
    for (int value = 1; value <= 10'000; ++value) latest.set({value, -value});
  });
  for (int round = 0; round < 1000; ++round) {
    const auto value = latest.get();
    REQUIRE(value.first == -value.second);
  }
  writer.join();
  CHECK(latest.get().first == 10'000);
}
