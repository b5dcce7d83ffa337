#include "sim/simulate.h"

#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "sim/report.h"
#include "tests/sim/scenarios.h"

using namespace wdmoe;
using nlohmann::json;
using test::scenario_of;

namespace {

const std::string kTiny =
    "name = \"tiny\"\n[devices]\ncount = 4\n[model]\nlayers = 2\nexperts = 4\n"
    "[workload]\nrows = 8\nbatches = 2\n[run]\nseeds = 3\n";

std::vector<sim::Point> run(const sim::Scenario& scenario, std::size_t threads) {
  auto points = sim::simulate(scenario, threads, [](std::size_t, std::size_t) {});
  REQUIRE_MESSAGE(points.has_value(), points.error().text);
  return *points;
}

}  // namespace

TEST_CASE("simulate: results depend on seeds alone, not on threads") {
  const auto scenario = scenario_of(
      kTiny + "[channel]\ncoherence_s = 0.01\n[mobility]\nmodel = \"random_waypoint\"\n");
  const std::string alone = sim::csv_of(scenario, run(scenario, 1));
  CHECK(alone == sim::csv_of(scenario, run(scenario, 3)));
  CHECK(alone == sim::csv_of(scenario, run(scenario, 7)));
}

TEST_CASE("simulate: vanilla comes first, knobs and sweep make a point each") {
  const auto scenario = scenario_of(
      kTiny +
      "policies = [\"minmax\", \"wlr\", \"topk\"]\nquality = [0.8, 0.9]\ntheta = [0.5]\n"
      "[sweep]\nkey = \"cell.bandwidth_hz\"\nvalues = [20e6, 40e6]\n");
  const auto points = run(scenario, 2);
  // vanilla, minmax × 2 × 2, wlr × 2, topk exact: 8 at each value
  REQUIRE(points.size() == 16);
  CHECK(points[0].variant.is_vanilla());
  CHECK(points[8].variant.is_vanilla());
  CHECK(points[8].sweep_value == 40e6);
  for (const sim::Point& point : points) {
    CHECK(point.runs.size() == 3);
    for (const sim::Account& account : point.runs) CHECK(account.exchanges == 4);
  }
  // Twice the band is faster under every policy; gates are the same.
  for (std::size_t index = 0; index < 8; ++index)
    for (std::size_t seed = 0; seed < 3; ++seed)
      if (points[index].variant.policy == "topk")
        CHECK(points[8 + index].runs[seed].waiting < points[index].runs[seed].waiting);
}

TEST_CASE("simulate: minmax waits no longer than wlr at the mass that wlr keeps") {
  auto scenario = scenario_of(
      "[channel]\nfading = \"none\"\n[devices]\ncount = 8\ncompute_min_flops = 1e12\n"
      "compute_max_flops = 4e12\n[model]\nlayers = 4\n[workload]\nrows = 64\nbatches = 2\n");
  for (const std::uint64_t seed : {1, 2, 3}) {  // without fading both meet the same cell
    const sim::Variant wlr{"wlr", "", -1, bsd::Sharing::equal};
    const auto theirs = sim::simulate_one(scenario, wlr, seed).value();
    const sim::Variant minmax{"minmax", "quality", theirs.mean_kept_gate_mass(),
                              bsd::Sharing::equal};
    const auto ours = sim::simulate_one(scenario, minmax, seed).value();
    CHECK(ours.mean_kept_gate_mass() >= theirs.mean_kept_gate_mass() - 1e-9);
    CHECK(ours.waiting.count() <= theirs.waiting.count());
  }
}

TEST_CASE("report: a mean's interval is Student's") {
  // Four samples, standard deviation sqrt(20/3), t(0.975, 3) = 3.182446.
  const std::vector<double> samples{1, 3, 5, 7};
  const sim::Estimate estimate = sim::estimate(samples);
  CHECK(estimate.mean == 4);
  CHECK(estimate.half_width == doctest::Approx(3.182446 * std::sqrt(20.0 / 3 / 4)).epsilon(1e-6));
  const std::vector<double> one{2};
  CHECK(sim::estimate(one).mean == 2);
  CHECK(std::isnan(sim::estimate(one).half_width));
}

TEST_CASE("report: the summary is JSON with what the issue names, cuts are against vanilla") {
  const auto scenario = scenario_of(kTiny + "policies = [\"topk\", \"budget\"]\nquality = [0.9]\n");
  const auto points = run(scenario, 2);
  const auto summaries = sim::summarise(points);
  const json out = json::parse(sim::json_of(scenario, summaries));
  REQUIRE(out["results"].size() == points.size());
  for (const json& row : out["results"]) {
    for (const char* key : {"scenario", "policy", "allocator", "mean_waiting_latency_s",
                            "latency_cut_vs_vanilla", "kept_gate_mass"})
      CHECK(row.contains(key));
    REQUIRE(row["mean_waiting_latency_s_ci"].is_array());
    CHECK(row["mean_waiting_latency_s_ci"][0] <= row["mean_waiting_latency_s"]);
  }
  CHECK(out["results"][0]["latency_cut_vs_vanilla"] == 0);
  CHECK(out["results"][2]["quality"] == 0.9);
  double cut = 0;
  for (std::size_t seed = 0; seed < 3; ++seed)
    cut += (1 - points[1].runs[seed].waiting / points[0].runs[seed].waiting) / 3;
  CHECK(out["results"][1]["latency_cut_vs_vanilla"].get<double>() ==
        doctest::Approx(cut).epsilon(1e-12));
}

TEST_CASE("report: a single seed has no interval") {
  const auto scenario = scenario_of(kTiny.substr(0, kTiny.find("[run]")) + "[run]\nseeds = 1\n");
  const auto summaries = sim::summarise(run(scenario, 1));
  CHECK(
      json::parse(sim::json_of(scenario, summaries))["results"][0]["kept_gate_mass_ci"].is_null());
}

TEST_CASE("report: the figures suit the scenario") {
  struct Case {
    const char* name;
    std::string more;
    std::vector<std::string> figures;
    bool logarithmic;
  };
  const std::string sweep = "[sweep]\nkey = \"workload.rows\"\nlabel = \"it's rows\"\n";
  const Case cases[] = {
      {"bars without knobs", "", {"latency"}, false},
      {"a front over knobs", "quality = [0.8, 0.9]\n", {"pareto"}, false},
      {"curves over a sweep", sweep + "values = [4, 8]\n", {"latency", "cut", "kept"}, false},
      {"a wide sweep", sweep + "values = [1, 64]\n", {"latency", "cut", "kept"}, true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto scenario = scenario_of(kTiny + c.more);
    const auto figures = sim::figures_of(scenario, sim::summarise(run(scenario, 2)));
    REQUIRE(figures.size() == c.figures.size());
    for (std::size_t index = 0; index < figures.size(); ++index) {
      const std::string& commands = figures[index].commands;
      CHECK(figures[index].name == c.figures[index]);
      for (const char* ending : {".svg'", ".png'"})
        CHECK(commands.find("set output '" + c.figures[index] + ending) != std::string::npos);
      CHECK((commands.find("set logscale x") != std::string::npos) == c.logarithmic);
      CHECK(commands.find("nan") == std::string::npos);
      if (!c.more.empty() && c.more[0] == '[')
        CHECK(commands.find("set xlabel 'it''s rows'") != std::string::npos);
    }
  }
}

TEST_CASE("scenarios: every shipped file is read") {
  for (const char* name : {"paper", "paper-bandwidth", "paper-devices", "paper-distance",
                           "paper-rows", "paper-threshold", "pareto", "testbed", "scale", "demo"}) {
    CAPTURE(name);
    const auto scenario =
        sim::load_scenario(std::string(WDMOE_SOURCE_DIR "/scenarios/") + name + ".toml");
    CHECK_MESSAGE(scenario.has_value(), scenario.error().text);
  }
}
