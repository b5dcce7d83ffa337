#include "cli/agents_report.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace wdmoe::cli {

Result<std::vector<AgentWork>> fetch_agents(const HttpClient& client) {
  const auto body = json_of(client.get("/wdmoe/v1/agents"));
  if (!body) return tl::unexpected<Error>(body.error());
  std::vector<AgentWork> agents;
  try {
    for (const auto& agent : body->at("agents"))
      agents.push_back({agent.at("name").get<std::string>(),
                        agent.at("experts").get<std::uint64_t>(),
                        agent.at("rows").get<std::uint64_t>(), agent.at("compute_s").get<double>(),
                        agent.at("bytes_sent").get<std::uint64_t>(),
                        agent.at("bytes_received").get<std::uint64_t>(),
                        agent.at("round_trips").get<std::uint64_t>()});
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::bad_input,
                std::string("unexpected answer from /wdmoe/v1/agents: ") + error.what());
  }
  return agents;
}

std::string format_agents(const std::vector<AgentWork>& before,
                          const std::vector<AgentWork>& after) {
  if (after.empty()) return "";
  std::string table =
      fmt::format("{:<16} {:>7} {:>9} {:>12} {:>12} {:>12} {:>12}\n", "agent", "experts", "tokens",
                  "compute ms", "sent kB", "received kB", "round trips");
  for (const AgentWork& agent : after) {
    const auto match = std::find_if(before.begin(), before.end(), [&](const AgentWork& other) {
      return other.name == agent.name;
    });
    const AgentWork base = match != before.end() ? *match : AgentWork{};
    table +=
        fmt::format("{:<16} {:>7} {:>9} {:>12.2f} {:>12.1f} {:>12.1f} {:>12}\n", agent.name,
                    agent.experts, agent.rows - base.rows, (agent.compute_s - base.compute_s) * 1e3,
                    static_cast<double>(agent.bytes_sent - base.bytes_sent) / 1e3,
                    static_cast<double>(agent.bytes_received - base.bytes_received) / 1e3,
                    agent.round_trips - base.round_trips);
  }
  return table;
}

}  // namespace wdmoe::cli
