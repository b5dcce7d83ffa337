#include "weights/split_plan.h"

#include <set>

#include <doctest/doctest.h>

#include "tests/weights/files.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

TEST_CASE("default_plan: expert k of every layer is on agent k mod N, each exactly once") {
  for (const std::size_t agents : {1u, 2u, 3u, 4u, 8u}) {
    CAPTURE(agents);
    const auto plan = default_plan(agents, 5, 8);
    REQUIRE(plan);
    REQUIRE(plan->agents.size() == agents);
    std::set<ExpertId> seen;
    for (std::size_t agent = 0; agent < agents; ++agent) {
      CHECK(plan->agents[agent].name == "agent-" + std::to_string(agent));
      for (const ExpertId id : plan->agents[agent].experts) {
        CHECK(id.expert % agents == agent);
        CHECK(seen.insert(id).second);
      }
    }
    CHECK(seen.size() == 5 * 8);
    CHECK(plan->on_bs.empty());
  }
}

TEST_CASE("default_plan: more agents than experts, or none, is explained") {
  CHECK(mentions(default_plan(9, 5, 8).error(), "--plan"));
  CHECK(mentions(default_plan(0, 5, 8).error(), "1 to 8"));
}

TEST_CASE("parse_plan: pairs, whole columns, replicas and the base station") {
  const auto plan = parse_plan(R"({"agents":[
      {"name":"a","experts":{"all_layers":[1,0]}},
      {"name":"b","experts":[[1,1],[0,2],[0,1]]}],
    "bs":"rest"})",
                               2, 4);
  REQUIRE(plan);
  CHECK(plan->agents[0].experts == std::vector<ExpertId>{{0, 0}, {0, 1}, {1, 0}, {1, 1}});
  CHECK(plan->agents[1].experts == std::vector<ExpertId>{{0, 1}, {0, 2}, {1, 1}});
  CHECK(plan->on_bs == std::vector<ExpertId>{{0, 3}, {1, 2}, {1, 3}});
}

TEST_CASE("parse_plan: mistakes are named") {
  struct Case {
    const char* name;
    const char* json;
    const char* word;
  };
  const Case cases[] = {
      {"no JSON", "agents", "not JSON"},
      {"no agents", "{}", "agents"},
      {"empty agents", R"({"agents":[]})", "agents"},
      {"homeless expert", R"({"agents":[{"name":"a","experts":{"all_layers":[0,1,3]}}]})",
       "expert 2 of layer 0"},
      {"homeless despite bs",
       R"({"agents":[{"name":"a","experts":{"all_layers":[0,1,3]}}],"bs":[[0,2]]})",
       "expert 2 of layer 1"},
      {"layer out of range", R"({"agents":[{"name":"a","experts":[[2,0]]}]})", "'a'"},
      {"expert out of range", R"({"agents":[{"name":"a","experts":{"all_layers":[4]}}]})", "'a'"},
      {"negative", R"({"agents":[{"name":"a","experts":[[-1,0]]}]})", "'a'"},
      {"expert twice", R"({"agents":[{"name":"a","experts":[[0,0],[0,0]]}]})", "twice"},
      {"column twice", R"({"agents":[{"name":"a","experts":{"all_layers":[1,1]}}]})", "twice"},
      {"holds nothing", R"({"agents":[{"name":"a","experts":[]}]})", "no expert"},
      {"no experts key", R"({"agents":[{"name":"a"}]})", "'experts'"},
      {"no name", R"({"agents":[{"experts":[[0,0]]}]})", "name"},
      {"path as name", R"({"agents":[{"name":"../a","experts":[[0,0]]}]})", "../a"},
      {"hidden name", R"({"agents":[{"name":".a","experts":[[0,0]]}]})", ".a"},
      {"name twice",
       R"({"agents":[{"name":"a","experts":[[0,0]]},{"name":"a","experts":[[0,1]]}]})", "twice"},
      {"unknown key", R"({"agents":[{"name":"a","expert":[[0,0]]}]})", "'expert'"},
      {"unknown top key", R"({"agent":[]})", "'agent'"},
      {"bad bs", R"({"agents":[{"name":"a","experts":[[0,0]]}],"bs":"all"})", "'bs'"},
      {"agent not an object", R"({"agents":[1]})", "objects"},
      {"agents not a list", R"({"agents":{"a":1}})", "list"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto plan = parse_plan(c.json, 2, 4);
    REQUIRE_FALSE(plan);
    CAPTURE(plan.error().text);
    CHECK(mentions(plan.error(), c.word));
  }
}
