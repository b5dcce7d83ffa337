#include "common/log.h"

#include <doctest/doctest.h>

using namespace wdmoe;

TEST_CASE("log: a line is an event and its fields") {
  CHECK(log::format("expert_late", {{"device", "jetson-2"}, {"layer", 7}, {"waited_ms", 52.5}}) ==
        "expert_late device=jetson-2 layer=7 waited_ms=52.5");
  CHECK(log::format("x", {{"ok", true}, {"size", std::uint64_t{18446744073709551615u}}}) ==
        "x ok=true size=18446744073709551615");
}

TEST_CASE("log: foreign text cannot forge lines, fields or colours") {
  CHECK(log::format("x", {{"t", "two words"}}) == "x t=\"two words\"");
  CHECK(log::format("x", {{"t", ""}}) == "x t=\"\"");
  CHECK(log::format("x", {{"t", "a=b"}}) == "x t=\"a=b\"");
  CHECK(log::format("x", {{"t", "say \"hi\""}}) == "x t=\"say \\\"hi\\\"\"");
  const std::string line = log::format("x", {{"t", std::string("a\nb\x1b[31m\0c", 10)}});
  for (const char c : line) CHECK(static_cast<unsigned char>(c) >= 0x20);
}

TEST_CASE("log: repeating events pass once per interval and count what was left out") {
  log::RateLimit limit(milliseconds(100));
  const Instant start{std::chrono::hours(1)};
  std::uint64_t skipped = 99;
  CHECK(limit.allow(start, skipped));
  CHECK(skipped == 0);
  for (int ms = 1; ms < 100; ++ms) CHECK_FALSE(limit.allow(start + milliseconds(ms), skipped));
  CHECK(limit.allow(start + milliseconds(100), skipped));
  CHECK(skipped == 99);
  CHECK_FALSE(limit.allow(start + milliseconds(199), skipped));
  CHECK(limit.allow(start + milliseconds(500), skipped));
  CHECK(skipped == 1);
}
