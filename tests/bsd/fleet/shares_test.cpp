#include "bsd/fleet/shares.h"

#include <vector>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

Instant at(int ms) {
  return Instant(milliseconds(ms));
}

}  // namespace

TEST_CASE("shares: told at once, repeated in time, taken back once") {
  UplinkShares shares;
  CHECK_FALSE(shares.due(0, at(0)));
  const std::vector<double> bps{0, 8e6};
  shares.set(bps);
  CHECK_FALSE(shares.due(0, at(0)));
  CHECK_FALSE(shares.due(2, at(0)));
  auto share = shares.due(1, at(0));
  REQUIRE(share);
  CHECK(share->uplink_kbps == 8'000);
  CHECK(share->lifetime_ms == 2'000);
  CHECK_FALSE(shares.due(1, at(0)));
  shares.set(bps);
  CHECK_FALSE(shares.due(1, at(499)));
  REQUIRE(shares.due(1, at(500)));
  CHECK_FALSE(shares.due(1, at(999)));
  REQUIRE(shares.due(1, at(1'000)));
  shares.set({});
  share = shares.due(1, at(1'001));
  REQUIRE(share);
  CHECK(share->uplink_kbps == 0);
  CHECK_FALSE(shares.due(1, at(10'000)));
}

TEST_CASE("shares: a change does not wait for the repetition, a new connection is told again") {
  UplinkShares shares;
  const std::vector<double> first{8e6}, second{9e6}, tiny{1};
  shares.set(first);
  REQUIRE(shares.due(0, at(0)));
  shares.set(second);
  CHECK(shares.due(0, at(1))->uplink_kbps == 9'000);
  shares.forget(0);
  CHECK(shares.due(0, at(2))->uplink_kbps == 9'000);
  shares.set(tiny);
  CHECK(shares.due(0, at(3))->uplink_kbps == 1);  // not 0: that would be no limit
}
