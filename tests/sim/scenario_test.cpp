#include "sim/scenario.h"

#include <string>

#include <doctest/doctest.h>

using namespace wdmoe;
using sim::parse_scenario;
using sim::Scenario;

TEST_CASE("scenario: a few lines are enough, the rest is the paper's Mixtral") {
  const auto scenario = parse_scenario("[devices]\ncount = 8\n", "a.toml");
  REQUIRE_MESSAGE(scenario.has_value(), scenario.error().text);
  CHECK(scenario->model.layers == 32);
  CHECK(scenario->bits_per_row().value() == 65536);
  // 4·m·m_h + 2·m_h·m + 16·m_h + m_h with m = 4096, m_h = 14336
  CHECK(scenario->work_per_visit().value() == 352565248.0);
  const bsd::Holders holders = scenario->holders();
  for (std::uint16_t expert = 0; expert < 8; ++expert)
    CHECK(holders[expert] == std::vector<std::uint16_t>{expert});
}

TEST_CASE("scenario: experts go to devices in turns, and to several where devices abound") {
  const auto three = parse_scenario("[devices]\ncount = 3\n", "a.toml").value().holders();
  CHECK(three[0] == std::vector<std::uint16_t>{0});
  CHECK(three[5] == std::vector<std::uint16_t>{2});
  const auto many = parse_scenario("[devices]\ncount = 18\n", "a.toml").value().holders();
  CHECK(many[1] == std::vector<std::uint16_t>{1, 9, 17});
  CHECK(many[2] == std::vector<std::uint16_t>{2, 10});
  const auto listed = parse_scenario(
      "[model]\nexperts = 2\n[[device]]\nexperts = [0, 1]\n[[device]]\nexperts = [1]\n", "a.toml");
  REQUIRE(listed.has_value());
  CHECK(listed->holders() == bsd::Holders{{0}, {0, 1}});
  CHECK(listed->devices[1].name == "device-1");
}

TEST_CASE("scenario: devices are drawn within their ranges, alike for one seed only") {
  const Scenario scenario = parse_scenario(
                                "[devices]\ncount = 200\ncompute_min_flops = 1e11\n"
                                "compute_max_flops = 1e13\n",
                                "a.toml")
                                .value();
  const auto first = scenario.devices_for(1), again = scenario.devices_for(1),
             other = scenario.devices_for(2);
  double mean = 0;
  for (std::size_t device = 0; device < first.size(); ++device) {
    CHECK(first[device].distance_m == again[device].distance_m);
    CHECK(first[device].distance_m != other[device].distance_m);
    CHECK(first[device].distance_m >= 50);
    CHECK(first[device].distance_m <= 300);
    CHECK(first[device].compute_flops >= 0.999e11);
    CHECK(first[device].compute_flops <= 1.001e13);
    mean += first[device].distance_m / 200;
  }
  // Standard error of the mean: 250/sqrt(12·200) = 5.1; five of them.
  CHECK(mean == doctest::Approx(175).epsilon(25.5 / 175));
}

TEST_CASE("scenario: a sweep changes the one key it names") {
  const auto scenario = parse_scenario(
      "[devices]\ncount = 8\n[sweep]\nkey = \"cell.bandwidth_hz\"\n"
      "values = [20e6, 40e6]\n",
      "a.toml");
  REQUIRE_MESSAGE(scenario.has_value(), scenario.error().text);
  CHECK(sim::at_sweep_value(*scenario, 40e6)->cell.bandwidth_hz == 40e6);
  const auto devices = parse_scenario(
      "[devices]\ncount = 8\n[sweep]\nkey = \"devices.count\"\nvalues = [4, 300]\n", "a.toml");
  CHECK(sim::at_sweep_value(*devices, 300)->device_count() == 300);
  const auto knob = parse_scenario(
      "[devices]\ncount = 8\n[sweep]\nkey = \"run.quality\"\nvalues = [0.8, 0.9]\n", "a.toml");
  CHECK(sim::at_sweep_value(*knob, 0.8)->run.quality == std::vector<double>{0.8});
}

TEST_CASE("scenario: a mistake is one line that names file, key and what was expected") {
  struct Case {
    const char* name;
    std::string toml;
    const char* says;
  };
  const std::string devices = "[devices]\ncount = 8\n";
  const Case cases[] = {
      {"nobody there", "", "a.toml: expected either [[device]] sections or devices.count > 0"},
      {"both kinds", devices + "[[device]]\n", "a.toml: expected either [[device]]"},
      {"a misspelt key", "[cell]\nbandwith_hz = 1e6", "did you mean 'cell.bandwidth_hz'"},
      {"a misspelt device key", "[[device]]\ndistance = 3", "did you mean 'distance_m'"},
      {"a medium nobody knows", "[cell]\nmedium = \"tdma\"", "one of fdma_separate, fdma_common"},
      {"a policy nobody knows", devices + "[run]\npolicies = [\"best\"]",
       "run.policies = [\"best\"]"},
      {"no policy", devices + "[run]\npolicies = []", "run.policies"},
      {"infinite bandwidth", "[cell]\nbandwidth_hz = inf", "a number from 1000 to"},
      {"no number", "[cell]\nbandwidth_hz = nan", "a number from 1000 to"},
      {"too many devices", "[devices]\ncount = 100000", "from 0 to 1024"},
      {"too many rows", devices + "[workload]\nrows = 1000000000", "from 1 to 16384"},
      {"more choices than experts", devices + "[model]\nexperts = 2\ntop_k = 3",
       "model.top_k = 3: expected at most model.experts = 2"},
      {"ranges upside down", devices + "distance_min_m = 400", "distance_min_m is above"},
      {"an expert nobody holds", "[[device]]\nexperts = [0, 1]", "no device holds expert 2"},
      {"an expert beyond the model", "[[device]]\nexperts = [8]",
       "experts: expected whole numbers below 8"},
      {"half an expert", "[[device]]\nexperts = [0.5]", "experts: expected whole numbers"},
      {"a sweep of nothing", devices + "[sweep]\nkey = \"cell.bandwidth_hz\"", "both or neither"},
      {"a sweep of a text", devices + "[sweep]\nkey = \"cell.medium\"\nvalues = [1]",
       "is no number"},
      {"a sweep of an unknown key", devices + "[sweep]\nkey = \"x\"\nvalues = [1]", "no key"},
      {"a sweep out of range", devices + "[sweep]\nkey = \"cell.bandwidth_hz\"\nvalues = [-1]",
       "sweep of cell.bandwidth_hz = -1"},
      {"half a device", devices + "[sweep]\nkey = \"devices.count\"\nvalues = [1.5]",
       "whole numbers"},
      {"a name over two lines", "name = \"a\\nb\"\n" + devices, "name: expected at most 64"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto refused = parse_scenario(c.toml, "a.toml");
    REQUIRE(!refused.has_value());
    CAPTURE(refused.error().text);
    CHECK(refused.error().text.find("a.toml") == 0);
    CHECK(refused.error().text.find(c.says) != std::string::npos);
    CHECK(refused.error().text.find('\n') == std::string::npos);
  }
}
