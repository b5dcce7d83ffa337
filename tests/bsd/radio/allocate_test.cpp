#include "bsd/radio/allocate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/radio/certificate.h"
#include "tests/bsd/radio/random_problem.h"
#include "tests/support/allocations.h"

using namespace wdmoe;
using namespace wdmoe::radio;

static DeviceDemand plain_device(double tokens) {
  return {tokens, Watts(10), Watts(0.2), 1e-11, 1e-11, Seconds(1e-4), Seconds(0)};
}

static AllocationProblem problem_of(Medium medium, const std::vector<DeviceDemand>& devices) {
  return {medium, Hertz(100e6), kThermalNoise, Bits(65536), devices};
}

TEST_CASE("allocate: every solution carries its certificate, over twelve decades of gain") {
  for (const Medium medium : kMedia) {
    CAPTURE(name_of(medium));
    Dice dice(7);
    Allocator allocator;
    OwnedProblem owned;
    double worst = 0;
    int nested = 0;
    for (int i = 0; i < 5000; ++i) {
      fill_randomly(owned, medium, dice.count(1, i % 100 == 0 ? 1000 : 16), dice.between(0, 12),
                    dice);
      const auto solved = allocator.solve(owned.problem);
      REQUIRE(solved.has_value());
      const double residual = certify(owned.problem, solved->devices).residual();
      CHECK(residual <= 1e-9);
      worst = std::max(worst, residual);
      nested += solved->nested;
    }
    MESSAGE(name_of(medium), ": worst KKT residual ", worst, ", nested ", nested);
  }
}

TEST_CASE("allocate: no random split beats it, and equal shares never do") {
  for (const Medium medium : kMedia) {
    CAPTURE(name_of(medium));
    Dice dice(8);
    Allocator allocator, vanilla;
    OwnedProblem owned;
    for (int i = 0; i < 500; ++i) {
      fill_randomly(owned, medium, dice.count(2, 5), 4, dice);
      const Seconds best = allocator.solve(owned.problem)->waiting_latency;
      CHECK(vanilla.split_equally(owned.problem)->waiting_latency >= best);
      for (int trial = 0; trial < 20; ++trial) {
        std::vector<double> down, up;
        for (std::size_t k = 0; k < owned.devices.size(); ++k) {
          down.push_back(dice.between(0.01, 1));
          up.push_back(medium == Medium::fdma_common ? down.back() : dice.between(0.01, 1));
        }
        double all_down = std::accumulate(down.begin(), down.end(), 0.0);
        double all_up = std::accumulate(up.begin(), up.end(), 0.0);
        if (medium == Medium::airtime) all_down = all_up = all_down + all_up;
        Seconds worst{0};
        for (std::size_t k = 0; k < owned.devices.size(); ++k)
          worst = std::max(worst, finish_time(owned.problem, owned.devices[k],
                                              owned.problem.bandwidth * (down[k] / all_down),
                                              owned.problem.bandwidth * (up[k] / all_up)));
        CHECK(worst.count() >= best.count() * (1 - 1e-12));
      }
    }
  }
}

TEST_CASE("allocate: situations everyone can check") {
  DeviceDemand far = plain_device(10), slow = plain_device(10);
  far.gain_dl = far.gain_ul = 1e-13;
  slow.compute_per_token = Seconds(2e-3);
  struct Case {
    const char* name;
    std::vector<DeviceDemand> devices;
    int widest;  // -1: all the same
  };
  const Case cases[] = {
      {"one device takes it all", {plain_device(10)}, -1},
      {"equals share equally", {plain_device(10), plain_device(10), plain_device(10)}, -1},
      {"the weak signal gets more", {plain_device(10), far}, 1},
      {"the slow computer gets more", {slow, plain_device(10)}, 0},
      {"the larger load gets more", {plain_device(10), plain_device(30)}, 1},
  };
  for (const Medium medium : kMedia) {
    for (const Case& c : cases) {
      CAPTURE(name_of(medium));
      CAPTURE(std::string(c.name));
      Allocator allocator;
      const auto solved = allocator.solve(problem_of(medium, c.devices));
      REQUIRE(solved.has_value());
      const auto& shares = solved->devices;
      const double least = std::min_element(shares.begin(), shares.end(), [](auto& a, auto& b) {
                             return a.bandwidth_dl < b.bandwidth_dl;
                           })->bandwidth_dl.value();
      for (std::size_t k = 0; k < shares.size(); ++k) {
        const double band = shares[k].bandwidth_dl.value();
        if (c.widest < 0) CHECK(band == doctest::Approx(least).epsilon(1e-9));
        if (c.widest >= 0) CHECK((band > least * 1.01) == (static_cast<int>(k) == c.widest));
      }
    }
  }
}

TEST_CASE("allocate: idle devices get nothing and cost nothing, even without a link") {
  DeviceDemand dead = plain_device(0);
  dead.gain_dl = dead.gain_ul = 0;
  dead.fixed = Seconds(9);
  for (const Medium medium : kMedia) {
    CAPTURE(name_of(medium));
    Allocator allocator;
    const auto solved = allocator.solve(problem_of(medium, {dead, plain_device(10), dead}));
    REQUIRE(solved.has_value());
    CHECK(solved->devices[0].bandwidth_dl.value() == 0);
    CHECK(solved->devices[2].bandwidth_ul.value() == 0);
    CHECK(solved->devices[0].latency.count() == 0);
    const Hertz used = solved->devices[1].bandwidth_dl +
                       (medium == Medium::airtime ? solved->devices[1].bandwidth_ul : Hertz(0));
    CHECK(used.value() == doctest::Approx(100e6).epsilon(1e-14));

    const auto idle = allocator.solve(problem_of(medium, {dead, dead}));
    REQUIRE(idle.has_value());
    CHECK(idle->waiting_latency.count() == 0);
    CHECK(allocator.solve(problem_of(medium, {}))->waiting_latency.count() == 0);
  }
}

TEST_CASE("allocate: when compute rules, latency is its floor and the band is still used up") {
  DeviceDemand slow = plain_device(10);
  slow.compute_per_token = Seconds(100);
  for (const Medium medium : kMedia) {
    CAPTURE(name_of(medium));
    Allocator allocator;
    const std::vector<DeviceDemand> devices{slow, plain_device(10), plain_device(1)};
    const auto problem = problem_of(medium, devices);
    const auto solved = allocator.solve(problem);
    REQUIRE(solved.has_value());
    CHECK(solved->waiting_latency.count() == doctest::Approx(1000).epsilon(1e-5));
    CHECK(certify(problem, solved->devices).residual() <= 1e-9);
    CHECK(solved->devices[0].bandwidth_dl > solved->devices[1].bandwidth_dl * 1000);
  }
}

TEST_CASE("allocate: a round trip counts once, and only for devices with tokens") {
  DeviceDemand remote = plain_device(10);
  remote.fixed = Seconds(0.5);
  Allocator allocator;
  const std::vector<DeviceDemand> devices{remote, plain_device(10)};
  const auto solved = allocator.solve(problem_of(Medium::fdma_common, devices));
  REQUIRE(solved.has_value());
  CHECK(solved->waiting_latency.count() > 0.5);
  CHECK(solved->waiting_latency.count() < 0.51);
}

TEST_CASE("allocate: what cannot be solved is refused by name") {
  struct Case {
    const char* name;
    std::function<void(std::vector<DeviceDemand>&, AllocationProblem&)> spoil;
    Code code;
    const char* says;
  };
  const Case cases[] = {
      {"no downlink", [](auto& d, auto&) { d[1].gain_dl = 0; }, Code::unavailable,
       "device 1 has tokens but no downlink"},
      {"no uplink", [](auto& d, auto&) { d[1].power_ul = Watts(0); }, Code::unavailable,
       "device 1 has tokens but no uplink"},
      {"NaN gain", [](auto& d, auto&) { d[1].gain_ul = std::nan(""); }, Code::bad_input,
       "device 1: gain_ul is nan"},
      {"infinite gain", [](auto& d, auto&) { d[0].gain_dl = kInfinite; }, Code::bad_input,
       "device 0: gain_dl is inf"},
      {"negative tokens", [](auto& d, auto&) { d[1].tokens = -1; }, Code::bad_input,
       "device 1: tokens is -1"},
      {"a crumb of a token", [](auto& d, auto&) { d[1].tokens = 1e-300; }, Code::bad_input,
       "device 1: tokens is neither"},
      {"negative power", [](auto& d, auto&) { d[1].power_dl = Watts(-2); }, Code::bad_input,
       "device 1: power_dl_w is -2"},
      {"NaN power", [](auto& d, auto&) { d[1].power_ul = Watts(std::nan("")); }, Code::bad_input,
       "device 1: power_ul_w is nan"},
      {"negative compute", [](auto& d, auto&) { d[1].compute_per_token = Seconds(-1); },
       Code::bad_input, "device 1: compute_s_per_token is -1"},
      {"infinite round trip", [](auto& d, auto&) { d[1].fixed = Seconds(kInfinite); },
       Code::bad_input, "device 1: fixed_s is inf"},
      {"a signal beyond physics",
       [](auto& d, auto&) {
         d[1].gain_dl = 1e14;
         d[1].power_dl = Watts(1e14);
       },
       Code::bad_input, "device 1: power_dl_w x gain_dl gives SNR"},
      {"no band", [](auto&, auto& p) { p.bandwidth = Hertz(0); }, Code::bad_input,
       "bandwidth_hz is 0"},
      {"NaN band", [](auto&, auto& p) { p.bandwidth = Hertz(std::nan("")); }, Code::bad_input,
       "bandwidth_hz is nan"},
      {"no noise", [](auto&, auto& p) { p.noise = WattsPerHertz(0); }, Code::bad_input,
       "noise_w_per_hz is 0"},
      {"no payload", [](auto&, auto& p) { p.bits_per_token = Bits(-5); }, Code::bad_input,
       "bits_per_token is -5"},
  };
  for (const Medium medium : kMedia) {
    for (const Case& c : cases) {
      CAPTURE(std::string(c.name));
      std::vector<DeviceDemand> devices(2, plain_device(5));
      AllocationProblem problem = problem_of(medium, devices);
      c.spoil(devices, problem);
      Allocator allocator;
      for (const auto& refused : {allocator.solve(problem), allocator.split_equally(problem)}) {
        REQUIRE(!refused.has_value());
        CHECK(refused.error().code == c.code);
        CHECK(refused.error().text.find(c.says) == 0);
        CHECK(refused.error().text.find('\n') == std::string::npos);
      }
    }
  }
  const std::vector<DeviceDemand> crowd(kMaxDevices + 1, plain_device(1));
  Allocator allocator;
  CHECK(allocator.solve(problem_of(Medium::airtime, crowd)).error().code == Code::limit);
}

TEST_CASE("allocate: the corners of what is accepted give finite answers") {
  for (const Medium medium : kMedia) {
    for (const double gain : {1e-30, 1e-12, 1e8})
      for (const double tokens : {1e-12, 1.0, 1e15})
        for (const double compute : {0.0, 1e-300, 1e15}) {
          CAPTURE(gain);
          CAPTURE(tokens);
          CAPTURE(compute);
          DeviceDemand odd = plain_device(tokens);
          odd.gain_dl = gain;
          odd.compute_per_token = Seconds(compute);
          const std::vector<DeviceDemand> devices{odd, plain_device(3), odd};
          Allocator allocator;
          const auto problem = problem_of(medium, devices);
          const auto solved = allocator.solve(problem);
          REQUIRE(solved.has_value());
          CHECK(std::isfinite(solved->waiting_latency.count()));
          CHECK(certify(problem, solved->devices).residual() <= 1e-9);
        }
  }
}

TEST_CASE("allocate: does not allocate once warm") {
  for (const Medium medium : kMedia) {
    Dice dice(9);
    OwnedProblem large, small;
    fill_randomly(large, medium, 64, 6, dice);
    fill_randomly(small, medium, 8, 6, dice);
    Allocator allocator;
    REQUIRE(allocator.solve(large.problem).has_value());
    const std::size_t before = test::allocations();
    for (int i = 0; i < 100; ++i) {
      (void)allocator.solve(large.problem);
      (void)allocator.solve(small.problem);
      (void)allocator.split_equally(small.problem);
    }
    CHECK(test::allocations() == before);
  }
}

TEST_CASE("allocate: names of media lead back to them") {
  for (const Medium medium : kMedia) CHECK(medium_from(name_of(medium)) == medium);
  const auto refused = medium_from("tdma");
  REQUIRE(!refused.has_value());
  CHECK(refused.error().text ==
        "'tdma' is no model: expected fdma_separate, fdma_common or airtime");
}
