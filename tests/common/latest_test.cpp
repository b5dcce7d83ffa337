#include "common/latest.h"

#include <thread>

#include <doctest/doctest.h>

using namespace wdmoe;

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
