#include "bsd/reports.h"

#include <nlohmann/json.hpp>

namespace wdmoe::bsd {
namespace {

nlohmann::ordered_json agent_json(const AgentSnapshot& agent) {
  nlohmann::ordered_json json{{"name", agent.name},
                              {"up", agent.up},
                              {"software", agent.software},
                              {"backend", agent.backend},
                              {"experts", agent.experts},
                              {"weights_bytes", agent.weights_bytes},
                              {"memory_bytes", agent.memory_bytes},
                              {"rows", agent.rows},
                              {"assignments", agent.assignments},
                              {"round_trips", agent.dispatches},
                              {"bytes_sent", agent.bytes_sent},
                              {"bytes_received", agent.bytes_received},
                              {"queue_s", in_seconds(agent.queue)},
                              {"compute_s", in_seconds(agent.compute)},
                              {"round_trip_s", in_seconds(agent.round_trip)},
                              {"failures", agent.failures},
                              {"late", agent.late},
                              {"joins", agent.joins}};
  if (agent.health.temperature_celsius != 0)
    json["temperature_celsius"] = agent.health.temperature_celsius;
  if (agent.health.power_watts != 0) json["power_watts"] = agent.health.power_watts;
  return json;
}

}  // namespace

std::string agents_json(const FleetSnapshot& fleet) {
  auto agents = nlohmann::ordered_json::array();
  for (const AgentSnapshot& agent : fleet.agents) agents.push_back(agent_json(agent));
  const nlohmann::ordered_json body{
      {"complete", fleet.complete}, {"missing", fleet.missing}, {"agents", std::move(agents)}};
  // What is no UTF-8 in an agent's words becomes U+FFFD: a report never fails.
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace wdmoe::bsd
