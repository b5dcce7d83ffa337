// Placement against brute force on tiny models, and what must hold for every placement.
#include "bsd/moe/placement.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <random>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

/// A model and a cell whose layers wait for the slowest device, or for a shared medium.
struct RandomCase {
  std::vector<double> popularity, per_row, per_visit, air;
  std::vector<std::uint64_t> memory;
  PlacementProblem problem;

  RandomCase(std::size_t layers, std::size_t experts, std::size_t devices, std::mt19937& random) {
    std::uniform_real_distribution<double> uniform(0, 1);
    std::normal_distribution<double> normal;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      std::vector<double> weight(experts);
      double sum = 0;
      for (double& w : weight) sum += w = std::exp(normal(random));
      for (const double w : weight) popularity.push_back(std::min(1.0, 2 * w / sum));
    }
    const bool medium = random() % 2;
    for (std::size_t device = 0; device < devices; ++device) {
      per_row.push_back(1e-3 * std::exp(normal(random)));
      per_visit.push_back(5e-4 * std::exp(normal(random)));
      air.push_back(medium ? 0.5 * per_row.back() : 0.0);
    }
    const std::size_t wanted = layers * experts;
    memory.assign(devices, 0);
    for (std::size_t seat = 0; seat < wanted + random() % 4; ++seat) {
      memory[random() % devices] += 100;
    }
    for (std::uint64_t& bytes : memory) bytes += 99;  // no room for one more
    problem.layers = layers;
    problem.experts = experts;
    problem.rows = 16;
    problem.popularity = {popularity.data(), layers, experts};
    problem.expert_bytes = 100;
    problem.memory_bytes = memory;
    problem.waiting = [this](Span<const ExpectedLoad> loads) {
      double latest = 0, busy = 0;
      for (std::size_t k = 0; k < loads.size(); ++k) {
        latest = std::max(latest, loads[k].rows * per_row[k] + loads[k].visits * per_visit[k]);
        busy += loads[k].rows * air[k];
      }
      return std::max(latest, busy);
    };
  }
  RandomCase(const RandomCase&) = delete;  // problem points into it
  RandomCase& operator=(const RandomCase&) = delete;
};

/// The least latency of all placements that fit, every expert once.
double brute_force(const PlacementProblem& problem) {
  const std::size_t devices = problem.memory_bytes.size();
  const std::size_t wanted = problem.layers * problem.experts;
  Placement placement(problem.layers, Holders(problem.experts, {0}));
  double best = std::numeric_limits<double>::infinity();
  const std::function<void(std::size_t)> visit = [&](std::size_t index) {
    if (index == wanted) {
      if (fits(problem, placement)) best = std::min(best, predicted_latency(problem, placement));
      return;
    }
    for (std::size_t device = 0; device < devices; ++device) {
      placement[index / problem.experts][index % problem.experts][0] =
          static_cast<std::uint16_t>(device);
      visit(index + 1);
    }
  };
  visit(0);
  return best;
}

}  // namespace

TEST_CASE("placement: close to brute force, with and without memory to spare") {
  std::mt19937 random(51);
  double sum = 0, worst = 0;
  int optimal = 0;
  constexpr int kCases = 150;
  for (int i = 0; i < kCases; ++i) {
    CAPTURE(i);
    const RandomCase c(2, 3, 2 + random() % 2, random);
    const auto placed = place_experts(c.problem, false);
    REQUIRE(placed.has_value());
    REQUIRE(fits(c.problem, *placed));
    const double gap = predicted_latency(c.problem, *placed) / brute_force(c.problem) - 1;
    CHECK(gap >= -1e-12);
    sum += gap;
    worst = std::max(worst, gap);
    optimal += gap < 1e-9 ? 1 : 0;
  }
  MESSAGE("gap to brute force: mean ", 100 * sum / kCases, " %, worst ", 100 * worst,
          " %, optimal in ", optimal, " of ", kCases);
  CHECK(sum / kCases < 0.02);
}

TEST_CASE("placement: never worse than the paper's, copies only help, the same every time") {
  std::mt19937 random(52);
  int copies = 0;
  for (int i = 0; i < 100; ++i) {
    CAPTURE(i);
    RandomCase c(1 + random() % 4, 2 + random() % 7, 1 + random() % 5, random);
    for (std::uint64_t& bytes : c.memory) bytes += (random() % 4) * 100;
    const std::size_t devices = c.memory.size();
    const auto single = place_experts(c.problem, false), copied = place_experts(c.problem, true);
    REQUIRE(single.has_value());
    REQUIRE(copied.has_value());
    CHECK(*place_experts(c.problem, true) == *copied);
    const double latency = predicted_latency(c.problem, *single);
    const Placement paper = paper_placement(c.problem.layers, c.problem.experts, devices);
    if (fits(c.problem, paper)) CHECK(latency <= predicted_latency(c.problem, paper) * (1 + 1e-12));
    CHECK(predicted_latency(c.problem, *copied) <= latency * (1 + 1e-12));
    for (const Placement* placement : {&*single, &*copied}) {
      CHECK(fits(c.problem, *placement));
      for (const Holders& layer : *placement) {
        for (const auto& holders : layer) {
          CHECK(holders.size() >= 1);
          CHECK(std::is_sorted(holders.begin(), holders.end()));
          CHECK(std::adjacent_find(holders.begin(), holders.end()) == holders.end());
          copies += static_cast<int>(holders.size()) - 1;
        }
      }
    }
  }
  CHECK(copies > 0);
}

TEST_CASE("placement: a large model takes bounded work and is still improved") {
  constexpr std::size_t kLayers = 61, kExperts = 256, kDevices = 8;
  std::mt19937 random(54);
  RandomCase c(kLayers, kExperts, kDevices, random);
  for (std::uint64_t& bytes : c.memory) bytes *= 2;
  std::size_t calls = 0;
  c.problem.waiting = [&calls, waiting = c.problem.waiting](Span<const ExpectedLoad> loads) {
    ++calls;
    return waiting(loads);
  };
  const std::size_t seating = kLayers * (kExperts * kDevices + 2);
  // A limit may be passed by what is on the way: one layer, or one more of each after the last
  // step.
  const std::size_t on_the_way = kExperts * kDevices * 4 + kLayers;
  const auto single = place_experts(c.problem, false);
  REQUIRE(single.has_value());
  CHECK(calls <= seating + kMostEvaluations + on_the_way);
  calls = 0;
  const auto copied = place_experts(c.problem, true);
  REQUIRE(copied.has_value());
  CHECK(calls <= seating + kMostEvaluations + kMostCopyEvaluations + 2 * on_the_way);
  CHECK(fits(c.problem, *copied));
  CHECK(predicted_latency(c.problem, *copied) < predicted_latency(c.problem, *single));
}

TEST_CASE("placement: the paper's, expected loads by hand, and memory that cannot hold the model") {
  CHECK(paper_placement(1, 5, 2) == Placement{{{0}, {1}, {0}, {1}, {0}}});
  std::mt19937 random(53);
  RandomCase c(1, 2, 2, random);
  c.popularity = {0.5, 0.2};
  c.problem.popularity = {c.popularity.data(), 1, 2};
  const auto together = expected_loads(c.problem, 0, {{1}, {1}});
  CHECK(together[0].rows == 0);
  CHECK(together[1].visits == doctest::Approx(16 * 0.7));
  CHECK(together[1].rows == doctest::Approx(16 * (1 - 0.5 * 0.8)));
  c.memory = {100, 50};
  c.problem.memory_bytes = c.memory;
  const auto full = place_experts(c.problem, false);
  REQUIRE_FALSE(full.has_value());
  CHECK(full.error().code == Code::limit);
  CHECK(full.error().text ==
        "the devices hold 1 experts of 100 bytes, the model has 2: more memory "
        "or more devices");
}
