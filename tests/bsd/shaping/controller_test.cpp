#include "bsd/shaping/controller.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/radio/link.h"
#include "tests/bsd/shaping/cell.h"

using namespace wdmoe;
using namespace wdmoe::shaping;
using doctest::Approx;
using radio::Medium;
using test::kBitsPerRow;
using test::kTick;

namespace {

std::vector<AgentInput> random_cell(std::mt19937& random, std::size_t count) {
  std::uniform_real_distribution<double> log_rate(std::log(1e6), std::log(100e6)), rows(0, 20);
  std::vector<AgentInput> agents;
  for (std::size_t slot = 0; slot < count; ++slot)
    agents.push_back(test::measured_agent(slot, std::exp(log_rate(random)),
                                          std::exp(log_rate(random)),
                                          random() % 4 == 0 ? 0 : rows(random)));
  return agents;
}

/// Part of the medium in use, worked out anew: `band` for the fdma media.
double part_used(const std::optional<Medium>& medium, Hertz band, const Plan& plan,
                 const std::vector<AgentInput>& agents) {
  double turns = 0, most = 0, down_band = 0, up_band = 0, common = 0;
  for (std::size_t k = 0; k < agents.size(); ++k) {
    const Share& share = plan.shares[k];
    const double down = share.down_bps / agents[k].link.down.rate_bps;
    const double up = share.up_bps / agents[k].link.up.rate_bps;
    turns += down + up;
    most = std::max({most, down, up});
    const auto width = [&](double part, double whole) {
      const auto link = radio::measured_link(BitsPerSecond(whole), band);
      return radio::bandwidth_for(link, BitsPerSecond(part)) / band;
    };
    const double down_width = width(share.down_bps, agents[k].link.down.rate_bps);
    const double up_width = width(share.up_bps, agents[k].link.up.rate_bps);
    down_band += down_width;
    up_band += up_width;
    common += std::max(down_width, up_width);
  }
  if (!medium) return most;
  if (*medium == Medium::airtime) return turns;
  return *medium == Medium::fdma_common ? common : std::max(down_band, up_band);
}

struct MediumCase {
  const char* name;
  std::optional<Medium> medium;
};
const MediumCase kMedia[] = {{"airtime", Medium::airtime},
                             {"fdma_separate", Medium::fdma_separate},
                             {"fdma_common", Medium::fdma_common},
                             {"dedicated", std::nullopt}};

}  // namespace

TEST_CASE("controller: whatever the links do, capacity, floor, steps and refractory time hold") {
  for (const MediumCase& c : kMedia) {
    SUBCASE(c.name) {
      std::mt19937 random(11);
      std::normal_distribution<double> walk(0, 0.05);
      for (int cell = 0; cell < 20; ++cell) {
        CAPTURE(cell);
        ControllerOptions options;
        options.medium = c.medium;
        Controller controller(options);
        auto agents = random_cell(random, 1 + random() % 9);
        double last_change_s = -1;
        Plan before;
        int changes = 0;
        for (int tick = 0; tick < 400; ++tick) {
          for (AgentInput& one : agents) {
            one.link.down.rate_bps *= std::exp(walk(random));
            one.link.up.rate_bps *= std::exp(walk(random));
            if (random() % 100 == 0) one.link.down.rate_bps *= random() % 2 == 0 ? 0.1 : 10;
            one.link.down.rate_bps = std::clamp(one.link.down.rate_bps, 1e5, 500e6);
            one.link.up.rate_bps = std::clamp(one.link.up.rate_bps, 1e5, 500e6);
          }
          const double now_s = 1 + tick * kTick;
          const Decision& decision = controller.tick(now_s, agents, kBitsPerRow);
          REQUIRE(decision.error == "");
          if (!applies(decision.reason)) continue;
          ++changes;
          if (last_change_s >= 0) REQUIRE(now_s - last_change_s >= options.refractory_s - 1e-9);
          last_change_s = now_s;
          const Plan& plan = controller.plan();
          REQUIRE(plan.shares.size() == agents.size());
          REQUIRE(part_used(c.medium, options.bandwidth, plan, agents) <= kUse * (1 + 1e-9));
          double down = 0, up = 0;
          for (std::size_t k = 0; k < agents.size(); ++k) {
            const Share& share = plan.shares[k];
            const double parts = c.medium ? static_cast<double>(agents.size()) *
                                                (c.medium == Medium::airtime ? 2 : 1)
                                          : 1;
            // A link that rose tenfold lifts the floor faster than steps may follow.
            const double floor = kFloor * kUse / parts * (1 - 1e-9);
            const bool new_here = before.shares.empty();
            REQUIRE(share.down_bps >= std::min(floor * agents[k].link.down.rate_bps,
                                               new_here ? 1e99 : before.shares[k].down_bps));
            REQUIRE(share.up_bps >= std::min(floor * agents[k].link.up.rate_bps,
                                             new_here ? 1e99 : before.shares[k].up_bps));
            REQUIRE(share.down_ceiling_bps >= share.down_bps);
            REQUIRE(share.down_ceiling_bps <= kUse * agents[k].link.down.rate_bps * (1 + 1e-9));
            if (!before.shares.empty()) {
              REQUIRE(share.down_bps <= before.shares[k].down_bps * Controller::kMostStep * 1.001);
              REQUIRE(share.up_bps <= before.shares[k].up_bps * Controller::kMostStep * 1.001);
            }
            down += share.down_bps;
            up += share.up_bps;
          }
          REQUIRE(plan.down_bps >= down * (1 - 1e-9));
          REQUIRE(plan.up_bps >= up * (1 - 1e-9));
          before = plan;
        }
        CHECK(changes > 3);
      }
    }
  }
}

TEST_CASE("controller: with steady links it settles on what the allocator says and stays there") {
  for (const MediumCase& c : kMedia) {
    SUBCASE(c.name) {
      std::mt19937 random(5);
      ControllerOptions options;
      options.medium = c.medium;
      Controller controller(options);
      auto agents = random_cell(random, 8);
      int tick = 0;
      const auto run = [&](int ticks) {
        int changes = 0;
        for (const int end = tick + ticks; tick < end; ++tick)
          changes += applies(controller.tick(tick * kTick, agents, kBitsPerRow).reason);
        return changes;
      };
      run(100);
      agents[2].link.down.rate_bps /= 10;
      agents[2].link.up.rate_bps /= 10;
      agents[5].link.down.rate_bps *= 10;
      run(300);
      CHECK(run(500) == 0);
      CHECK(controller.last().reason == Reason::held_threshold);
      CHECK(controller.last().change < options.threshold);
    }
  }
}

TEST_CASE("controller: a noisy estimate below the threshold changes nothing") {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> noise(0.98, 1.02);
  Controller controller({});
  const auto truth = random_cell(random, 8);
  controller.tick(0, truth, kBitsPerRow);
  for (int tick = 1; tick < 500; ++tick) {
    auto seen = truth;
    for (AgentInput& one : seen) {
      one.link.down.rate_bps *= noise(random);
      one.link.up.rate_bps *= noise(random);
    }
    CHECK_FALSE(applies(controller.tick(tick * kTick, seen, kBitsPerRow).reason));
  }
}

TEST_CASE("controller: more load gets more of the medium, and a load's agent is never starved") {
  Controller controller({});
  const std::vector<AgentInput> agents{test::measured_agent(0, 20e6, 20e6, 30),
                                       test::measured_agent(1, 20e6, 20e6, 3),
                                       test::measured_agent(2, 20e6, 20e6, 0)};
  REQUIRE(controller.tick(0, agents, kBitsPerRow).reason == Reason::applied_first);
  const auto& shares = controller.plan().shares;
  CHECK(shares[0].down_bps > 2 * shares[1].down_bps);
  CHECK(shares[1].down_bps > shares[2].down_bps);
  CHECK(shares[2].down_bps == Approx(kUse * kFloor * 20e6 / 6));
  double airtime = 0;
  for (const Share& share : shares) airtime += share.airtime;
  CHECK(airtime == Approx(kUse));
  CHECK(controller.last().predicted_wait_s > 0.01);
}

TEST_CASE("controller: a configured capacity bounds the cell") {
  ControllerOptions options;
  options.medium.reset();
  options.capacity_bps = 30e6;
  Controller controller(options);
  controller.tick(
      0, std::vector{test::measured_agent(0, 40e6, 10e6), test::measured_agent(1, 20e6, 10e6)},
      kBitsPerRow);
  const Plan& plan = controller.plan();
  CHECK(plan.shares[0].down_bps + plan.shares[1].down_bps == Approx(0.95 * 30e6));
  CHECK(plan.down_bps == Approx(0.95 * 30e6));
}

TEST_CASE("controller: says why it holds") {
  std::vector<AgentInput> agents{test::measured_agent(0, 20e6, 20e6),
                                 test::measured_agent(1, 10e6, 10e6)};
  Controller controller({});
  const auto tick = [&](double now_s) {
    return controller.tick(now_s, agents, kBitsPerRow).reason;
  };

  SUBCASE("nobody there, or nothing measured") {
    CHECK(controller.tick(0, {}, kBitsPerRow).reason == Reason::held_unknown);
    for (AgentInput& one : agents) one.link.down.measured = one.link.up.measured = false;
    CHECK(tick(0.02) == Reason::held_unknown);
    agents[0].link.down.measured = true;  // the others are not limited by what nobody knows
    CHECK(tick(0.04) == Reason::applied_first);
    CHECK(controller.plan().shares[1].down_ceiling_bps == kUnlimitedBps);
    CHECK(controller.plan().shares[1].down_bps > 50e6);
  }
  SUBCASE("frozen, and on again") {
    CHECK(tick(0) == Reason::applied_first);
    controller.freeze(true);
    agents[0].link.down.rate_bps /= 10;
    CHECK(tick(0.5) == Reason::held_frozen);
    CHECK(controller.plan().number == 1);
    controller.freeze(false);
    CHECK(tick(0.52) == Reason::applied_change);
  }
  SUBCASE("a tick that came late decides nothing; the next one does") {
    CHECK(tick(0) == Reason::applied_first);
    agents[0].link.down.rate_bps /= 10;
    CHECK(tick(1) == Reason::held_late);
    CHECK(controller.last().lateness_s == Approx(0.98));
    CHECK(controller.late_ticks() == 1);
    CHECK(tick(1.02) == Reason::applied_change);
  }
  SUBCASE("within the refractory time") {
    CHECK(tick(0) == Reason::applied_first);
    agents[0].link.down.rate_bps /= 10;
    for (const double now_s : {0.02, 0.04, 0.06, 0.08})
      CHECK(tick(now_s) == Reason::held_refractory);
    CHECK(tick(0.1) == Reason::applied_change);
  }
  SUBCASE("agents that come, move and leave") {
    CHECK(tick(0) == Reason::applied_first);
    agents.push_back(test::measured_agent(7, 5e6, 5e6));
    CHECK(tick(0.1) == Reason::held_late);
    CHECK(tick(0.12) == Reason::applied_agents);
    agents[1].address = "10.0.0.77";
    for (double now_s = 0.14; now_s < 0.23; now_s += 0.02) tick(now_s);
    CHECK(controller.plan().shares[1].address == "10.0.0.77");
    agents.pop_back();
    for (double now_s = 0.24; now_s < 0.35; now_s += 0.02) tick(now_s);
    CHECK(controller.plan().shares.size() == 2);
  }
  SUBCASE("values that no allocator takes") {
    agents[0].link.base_rtt_s = std::numeric_limits<double>::infinity();
    CHECK(tick(0) == Reason::held_error);
    CHECK(controller.last().error.find("fixed_s") != std::string::npos);
  }
  SUBCASE("forgotten: as if for the first time") {
    CHECK(tick(0) == Reason::applied_first);
    controller.forget();
    for (double now_s = 0.02; now_s < 0.09; now_s += 0.02)
      CHECK(tick(now_s) == Reason::held_refractory);
    CHECK(tick(0.11) == Reason::applied_first);
    CHECK(controller.plan().number == 2);
  }
}

TEST_CASE(
    "controller: what nobody has measured is not held back, and no plan is beyond the bounds") {
  for (const MediumCase& c : kMedia) {
    SUBCASE(c.name) {
      ControllerOptions options;
      options.medium = c.medium;
      Controller controller(options);
      std::vector<AgentInput> agents;
      for (std::size_t slot = 0; slot < 64; ++slot) {
        agents.push_back(test::measured_agent(slot, 20e6, 20e6));
        if (slot > 0) agents.back().link.down.measured = agents.back().link.up.measured = false;
      }
      REQUIRE(applies(controller.tick(0, agents, kBitsPerRow).reason));
      const Plan& plan = controller.plan();
      double down = 0;
      for (const Share& share : plan.shares) down += share.down_bps;
      CHECK(down <= plan.down_bps * (1 + 1e-9));
      CHECK(plan.down_bps <= kUnlimitedBps);
      CHECK(plan.shares[0].down_ceiling_bps <= 20e6);
      CHECK(plan.shares[1].down_ceiling_bps == kUnlimitedBps);
      if (!c.medium) CHECK(plan.shares[0].down_bps == Approx(kUse * 20e6));
    }
  }
}

TEST_CASE("controller: media by name") {
  for (const MediumCase& c : kMedia) {
    const auto medium = medium_from(c.name);
    REQUIRE(medium);
    CHECK(*medium == c.medium);
  }
  const auto wrong = medium_from("air");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().text.find("dedicated") != std::string::npos);
}
