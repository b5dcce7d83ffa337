#include "sim/exchange.h"

#include <algorithm>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/radio/latency.h"

using namespace wdmoe;
using sim::ExchangePlayer;

namespace {

radio::DeviceDemand device_of(double gain, double compute_s, double round_trip_s = 0) {
  radio::DeviceDemand demand;
  demand.power_dl = Watts(10);
  demand.power_ul = Watts(0.2);
  demand.gain_dl = gain;
  demand.gain_ul = gain / 3;
  demand.compute_per_token = Seconds(compute_s);
  demand.fixed = Seconds(round_trip_s);
  return demand;
}

bsd::Cell cell_of(radio::Medium medium, const std::vector<radio::DeviceDemand>& devices) {
  return {medium, Hertz(20e6), WattsPerHertz(4e-21), Bits(65536), devices, true};
}

/// Rows 0, 1, … with one choice each, at the devices given.
bsd::Selection selection_at(const std::vector<std::uint16_t>& devices) {
  bsd::Selection selection;
  for (std::size_t row = 0; row < devices.size(); ++row)
    selection.push_back({static_cast<std::uint32_t>(row), devices[row], devices[row], 1});
  return selection;
}

radio::AllocationProblem problem_of(const bsd::Cell& cell) {
  return {cell.medium, cell.bandwidth, cell.noise, cell.bits_per_row, cell.devices};
}

std::vector<radio::DeviceShare> equal_shares(const bsd::Cell& cell) {
  radio::Allocator allocator;
  const auto split = allocator.split_equally(problem_of(cell)).value();
  return {split.devices.begin(), split.devices.end()};
}

radio::RowTimes times_of(const bsd::Cell& cell, std::size_t device, Hertz down, Hertz up) {
  const auto& demand = cell.devices[device];
  const auto rates = radio::rates_of(problem_of(cell), demand, down, up);
  return radio::row_times(cell.bits_per_row, rates.down, rates.up, demand.compute_per_token);
}

}  // namespace

TEST_CASE("exchange: one device with a band of its own finishes as the pipelined formula says") {
  const struct {
    const char* name;
    double compute_s;
  } cases[] = {{"radio is the bottleneck", 1e-5}, {"compute is", 0.05}, {"about even", 1e-3}};
  for (const auto& c : cases) {
    for (const std::size_t rows : {1, 2, 7, 300}) {
      CAPTURE(c.name);
      CAPTURE(rows);
      const std::vector<radio::DeviceDemand> devices{device_of(1e-10, c.compute_s, 0.004)};
      const bsd::Cell cell = cell_of(radio::Medium::fdma_common, devices);
      const auto shares = equal_shares(cell);
      ExchangePlayer player;
      const Seconds played =
          player.play(cell, shares, selection_at(std::vector<std::uint16_t>(rows, 0)));
      const auto times = times_of(cell, 0, shares[0].bandwidth_dl, shares[0].bandwidth_ul);
      const Seconds formula = radio::pipelined(times, Seconds(0.004)).at(static_cast<double>(rows));
      CHECK(played.count() == doctest::Approx(formula.count()).epsilon(1e-12));
    }
  }
}

TEST_CASE("exchange: a single row overlaps with nothing: the paper's sum") {
  for (const auto medium : {radio::Medium::fdma_common, radio::Medium::airtime}) {
    const std::vector<radio::DeviceDemand> devices{device_of(1e-10, 0.002, 0.004)};
    const bsd::Cell cell = cell_of(medium, devices);
    const auto shares = equal_shares(cell);
    ExchangePlayer player;
    const Seconds played = player.play(cell, shares, selection_at({0}));
    // Alone on the air a row has the whole band, in both models.
    const bool turns = medium == radio::Medium::airtime;
    const auto times = times_of(cell, 0, turns ? cell.bandwidth : shares[0].bandwidth_dl,
                                turns ? cell.bandwidth : shares[0].bandwidth_ul);
    CHECK(played.count() ==
          doctest::Approx(radio::summed(times, Seconds(0.004)).at(1).count()).epsilon(1e-12));
  }
}

TEST_CASE("exchange: a row that visits two experts of one device travels once, is computed twice") {
  const std::vector<radio::DeviceDemand> devices{device_of(1e-10, 0.01)};
  const bsd::Cell cell = cell_of(radio::Medium::fdma_common, devices);
  const auto shares = equal_shares(cell);
  const auto times = times_of(cell, 0, shares[0].bandwidth_dl, shares[0].bandwidth_ul);
  ExchangePlayer player;
  const Seconds played = player.play(cell, shares, {{0, 0, 0, 0.6F}, {0, 1, 0, 0.4F}});
  CHECK(played.count() == doctest::Approx((times.down + times.up).count() + 0.02).epsilon(1e-12));
}

TEST_CASE("exchange: on one medium without compute the air is never silent") {
  std::mt19937 random(5);
  const std::vector<radio::DeviceDemand> devices{device_of(1e-9, 0), device_of(1e-11, 0),
                                                 device_of(1e-10, 0)};
  const bsd::Cell cell = cell_of(radio::Medium::airtime, devices);
  const auto shares = equal_shares(cell);
  std::vector<std::uint16_t> rows(50);
  double airtime = 0;
  for (auto& device : rows) {
    device = static_cast<std::uint16_t>(random() % 3);
    airtime += radio::airtime(times_of(cell, device, cell.bandwidth, cell.bandwidth)).count();
  }
  ExchangePlayer player;
  CHECK(player.play(cell, shares, selection_at(rows)).count() ==
        doctest::Approx(airtime).epsilon(1e-12));
}

TEST_CASE("exchange: lies between the closed bounds, whatever the load") {
  std::mt19937 random(11);
  std::uniform_real_distribution<double> part;
  ExchangePlayer player;
  for (int trial = 0; trial < 2000; ++trial) {
    CAPTURE(trial);
    std::vector<radio::DeviceDemand> devices;
    for (std::size_t k = 1 + random() % 5; k > 0; --k)
      devices.push_back(device_of(std::pow(10, -12 + 3 * part(random)),
                                  std::pow(10, -5 + 3 * part(random)), 1e-3 * part(random)));
    const bool turns = random() % 2 == 0;
    const bsd::Cell cell =
        cell_of(turns ? radio::Medium::airtime : radio::Medium::fdma_separate, devices);
    const auto shares = equal_shares(cell);
    std::vector<std::uint16_t> rows(1 + random() % 20);
    std::vector<double> load(devices.size());
    for (auto& row : rows) load[row = static_cast<std::uint16_t>(random() % devices.size())] += 1;

    // No earlier than any device could alone, nor than the medium has time for; no later than if
    // every stage waited for all others.
    double least = 0, most = 0, busy = 0;
    for (std::size_t k = 0; k < devices.size(); ++k) {
      if (load[k] == 0) continue;
      const auto times = times_of(cell, k, turns ? cell.bandwidth : shares[k].bandwidth_dl,
                                  turns ? cell.bandwidth : shares[k].bandwidth_ul);
      const double fixed = devices[k].fixed.count();
      least = std::max(least, radio::pipelined(times, devices[k].fixed).at(load[k]).count());
      const double sum = radio::summed(times).at(load[k]).count();
      most = turns ? most + sum + fixed : std::max(most, sum + fixed);
      busy += load[k] * radio::airtime(times).count();
    }
    if (turns) least = std::max(least, busy);
    const double played = player.play(cell, shares, selection_at(rows)).count();
    CHECK(played >= least * (1 - 1e-12));
    CHECK(played <= most * (1 + 1e-12));
  }
}

TEST_CASE("exchange: a larger share of the turns brings a device's answers earlier") {
  // Device 0 computes as long as the whole exchange is on the air: it must be fed early.
  std::vector<radio::DeviceDemand> devices{device_of(1e-10, 0), device_of(1e-10, 0)};
  const bsd::Cell cell = cell_of(radio::Medium::airtime, devices);
  devices[0].compute_per_token =
      2 * radio::airtime(times_of(cell, 0, cell.bandwidth, cell.bandwidth));
  auto shares = equal_shares(cell);
  std::vector<std::uint16_t> rows;
  for (int row = 0; row < 20; ++row) rows.push_back(static_cast<std::uint16_t>(row % 2));
  ExchangePlayer player;
  const auto finish_with = [&](double part) {
    shares[0].bandwidth_dl = shares[0].bandwidth_ul = cell.bandwidth * (part / 2);
    shares[1].bandwidth_dl = shares[1].bandwidth_ul = cell.bandwidth * ((1 - part) / 2);
    return player.play(cell, shares, selection_at(rows));
  };
  CHECK(finish_with(0.95) < finish_with(0.05));
}
