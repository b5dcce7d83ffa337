// The core of `wdmoe plan`: forecasts add up, the plan is one that `wdmoe split` reads.
#include "cli/placement.h"

#include <algorithm>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "weights/split_plan.h"

using namespace wdmoe;
using namespace wdmoe::cli;

namespace {

constexpr const char* kCell = R"(
name = "home"
[cell]
medium = "airtime"
bandwidth_hz = 80e6
round_trip_s = 0.002
[[device]]
name = "desk"
distance_m = 4
compute_flops = 8e12
memory_bytes = 9000
[[device]]
name = "attic"
distance_m = 60
compute_flops = 2e11
memory_bytes = 5000
[[device]]
name = "yard"
distance_m = 200
compute_flops = 2e11
memory_bytes = 5000
)";

PlacementRequest request() {
  PlacementRequest out;
  out.layers = 3;
  out.experts = 4;
  out.top_k = 2;
  out.hidden = 1024;
  out.ffn = 2048;
  out.expert_bytes = 1000;
  out.popularity = {0.9, 0.5, 0.4, 0.2, 0.5, 0.5, 0.5, 0.5, 0.1, 0.2, 0.8, 0.9};
  return out;
}

}  // namespace

TEST_CASE("wdmoe plan: below the paper's latency within memory, copies lower it further") {
  const auto cell = sim::parse_scenario(kCell, "cell.toml").value();
  PlacementRequest wanted = request();
  double before = 0;
  for (const bool replicas : {false, true}) {
    CAPTURE(replicas);
    wanted.replicas = replicas;
    const auto plan = forecast(wanted, cell);
    REQUIRE(plan.has_value());
    CHECK(plan->waiting_s < plan->paper_waiting_s);
    if (replicas) CHECK(plan->waiting_s <= before);
    before = plan->waiting_s;
    std::size_t experts = 0;
    double band = 0;
    for (const AgentForecast& agent : plan->agents) {
      CHECK(agent.used_bytes == 1000 * agent.experts.size());
      CHECK(agent.used_bytes <= agent.memory_bytes);
      CHECK((agent.rows > 0) == !agent.experts.empty());
      experts += agent.experts.size();
      band += agent.band_share;
    }
    CHECK(band == doctest::Approx(1));
    CHECK((replicas ? experts > 12 : experts == 12));
    const auto split = weights::parse_plan(plan_file(*plan), wanted.layers, wanted.experts);
    REQUIRE(split.has_value());
    CHECK(split->on_bs.empty());
    CHECK(as_text(*plan, wanted).find("desk") != std::string::npos);
    CHECK(as_json(*plan, wanted)["waiting_latency_s"] == plan->waiting_s);
  }
}

TEST_CASE("wdmoe plan: the paper's placement where it fits, by name where it does not") {
  auto cell = sim::parse_scenario(kCell, "cell.toml").value();
  PlacementRequest wanted = request();
  wanted.paper = true;
  const auto plan = forecast(wanted, cell);
  REQUIRE(plan.has_value());
  CHECK(plan->waiting_s == plan->paper_waiting_s);
  CHECK(plan->paper_fits);
  CHECK(plan->agents[0].experts.size() == 6);  // experts 0 and 3 of three layers
  cell.devices[0].memory_bytes = 5999;
  const auto small = forecast(wanted, cell);
  REQUIRE_FALSE(small.has_value());
  CHECK(small.error().code == Code::limit);
  CHECK(small.error().text.find("device desk would hold 6 experts") == 0);
  wanted.paper = false;
  CHECK_FALSE(forecast(wanted, cell)->paper_fits);
}

TEST_CASE("wdmoe plan: no trace makes all experts alike") {
  CHECK(uniform_popularity(1, 4, 2) == std::vector<double>(4, 0.5));
  CHECK_FALSE(popularity_of("/nowhere/trace", 1, 4, 2).has_value());
}
