#include "bsd/radio/latency.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "tests/bsd/radio/random_problem.h"

using namespace wdmoe;
using namespace wdmoe::radio;

/// When the last of `rows` leaves a shop of three stages that each take one row at a time:
/// simulated.
static double simulated_flow_shop(const RowTimes& row, int rows) {
  std::array<double, 3> free{};
  const std::array<double, 3> takes{row.down.count(), row.compute.count(), row.up.count()};
  for (int i = 0; i < rows; ++i) {
    double ready = 0;
    for (std::size_t stage = 0; stage < 3; ++stage)
      ready = free[stage] = std::max(ready, free[stage]) + takes[stage];
  }
  return free[2];
}

TEST_CASE("latency: payload and work are those of Mixtral in the paper's setting") {
  CHECK(payload(4096, 16).value() == 65536);
  const ExpertShape mixtral{4096, 14336, 16};
  // 4·m·m_h + 2·m_h·m + η·m_h + m_h
  CHECK(work(mixtral).value() == doctest::Approx(6.0 * 4096 * 14336 + 17.0 * 14336));
  CHECK((work(mixtral) / FlopsPerSecond(1e12)).count() == doctest::Approx(352.56e-6).epsilon(1e-4));
}

TEST_CASE("latency: the paper's sum adds stages and rows") {
  const RowTimes row = row_times(Bits(1000), BitsPerSecond(1e6), BitsPerSecond(5e5), Seconds(4e-3));
  CHECK(row.down.count() == doctest::Approx(1e-3));
  CHECK(row.up.count() == doctest::Approx(2e-3));
  CHECK(summed(row).at(10).count() == doctest::Approx(70e-3));
  CHECK(summed(row, Seconds(5e-3)).at(10).count() == doctest::Approx(75e-3));
  CHECK(summed(row, Seconds(5e-3)).at(0).count() == 0);
}

TEST_CASE("latency: the pipelined form equals a simulated flow shop, and never exceeds the sum") {
  Dice dice(2);
  for (int i = 0; i < 2000; ++i) {
    const RowTimes row{Seconds(dice.power_of_ten(-6, 0)), Seconds(dice.power_of_ten(-6, 0)),
                       Seconds(dice.power_of_ten(-6, 0))};
    const int rows = static_cast<int>(dice.count(1, 40));
    const Seconds trip(3e-3);
    CHECK(pipelined(row, trip).at(rows).count() ==
          doctest::Approx(trip.count() + simulated_flow_shop(row, rows)).epsilon(1e-12));
    CHECK(pipelined(row).at(rows).count() <= summed(row).at(rows).count() * (1 + 1e-12));
  }
}

TEST_CASE("latency: a device without a rate is endlessly late, not NaN") {
  const RowTimes row = row_times(Bits(1000), BitsPerSecond(0), BitsPerSecond(5e5), Seconds(4e-3));
  CHECK(std::isinf(summed(row).at(1).count()));
  CHECK(std::isinf(pipelined(row).at(1).count()));
  CHECK(pipelined(row).at(0).count() == 0);
}

TEST_CASE("latency: a row that visits two experts of a device travels once and is computed twice") {
  const std::vector<ExpertVisits> experts{{10, Seconds(1e-3)}, {4, Seconds(2e-3)}};
  CHECK(compute_per_row(experts, 10).count() == doctest::Approx(1.8e-3));
}

TEST_CASE("latency: the layer waits for its slowest device or for the shared medium") {
  const RowTimes row{Seconds(1e-3), Seconds(2e-3), Seconds(1e-3)};
  std::vector<DeviceRows> devices(3, {10, pipelined(row), Seconds(0)});
  devices[1].rows = 12;
  CHECK(waiting_latency(devices).count() == doctest::Approx(26e-3));  // own bands: the slowest
  for (DeviceRows& device : devices) device.airtime = airtime(row);
  CHECK(waiting_latency(devices).count() == doctest::Approx(64e-3));  // 32 rows of 2 ms in turns
  devices[0].rows = 0;
  devices[0].latency = summed({Seconds(1e300), Seconds(0), Seconds(0)});
  CHECK(waiting_latency(devices).count() == doctest::Approx(44e-3));  // no rows, no say
  CHECK(waiting_latency({}).count() == 0);
}
