#include "kernels/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace wdmoe::kernels;

TEST_CASE("thread_pool: every item runs exactly once, whatever the counts") {
  for (const std::size_t threads : {1u, 2u, 3u, 8u}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const std::size_t items : {0u, 1u, 2u, 7u, 64u, 1000u}) {
      CAPTURE(threads);
      CAPTURE(items);
      std::vector<std::atomic<int>> calls(items);
      pool.run(items, [&](std::size_t item) { calls[item].fetch_add(1); });
      CHECK(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n == 1; }));
    }
  }
}

TEST_CASE("thread_pool: what tasks wrote is visible to the owner, run after run") {
  ThreadPool pool(3);
  std::vector<std::size_t> values(17);  // plain memory: the thread sanitizer judges the barrier
  for (std::size_t round = 0; round < 20'000; ++round) {
    const std::size_t items = 1 + round % values.size();
    pool.run(items, [&](std::size_t item) { values[item] = round + item; });
    for (std::size_t item = 0; item < items; ++item)
      if (values[item] != round + item) FAIL("item " << item << " of round " << round);
  }
}

TEST_CASE("thread_pool: threads that fell asleep come back") {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    // The second thread must take part: each item waits until both have begun.
    std::atomic<int> begun{0};
    const auto idle_until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    while (std::chrono::steady_clock::now() < idle_until) std::this_thread::yield();
    pool.run(2, [&](std::size_t) {
      begun.fetch_add(1);
      while (begun.load() < 2) std::this_thread::yield();
    });
    CHECK(begun == 2);
  }
}

TEST_CASE("thread_pool: tells a task which thread runs it, and gives it scratch of its own") {
  ThreadPool pool(4);
  pool.reserve_scratch(100);
  const float* first = pool.scratch(0);
  pool.reserve_scratch(50);
  CHECK(pool.scratch(0) == first);  // never shrinks
  std::atomic<bool> mixed{false};
  pool.run(1000, [&](std::size_t item, std::size_t thread) {
    if (thread >= 4) mixed = true;
    float* mine = pool.scratch(thread);
    std::fill(mine, mine + 100, static_cast<float>(item));
    if (std::any_of(mine, mine + 100, [&](float v) { return v != static_cast<float>(item); }))
      mixed = true;
  });
  CHECK_FALSE(mixed);
}

TEST_CASE("thread_pool: a pool that never ran ends at once") {
  for (int round = 0; round < 50; ++round) ThreadPool pool(4);
}
