#pragma once
// What each agent did, between two moments: from GET /wdmoe/v1/agents.

#include <cstdint>
#include <string>
#include <vector>

#include "cli/http_client.h"

namespace wdmoe::cli {

struct AgentWork {
  std::string name;
  std::uint64_t experts = 0;  ///< (layer, expert) pairs held
  std::uint64_t rows = 0;     ///< token rows computed
  double compute_s = 0;
  std::uint64_t bytes_sent = 0, bytes_received = 0;  ///< by the base station
  std::uint64_t round_trips = 0;
};

Result<std::vector<AgentWork>> fetch_agents(const HttpClient& client);

/// A table of after - before, matched by name.
std::string format_agents(const std::vector<AgentWork>& before,
                          const std::vector<AgentWork>& after);

}  // namespace wdmoe::cli
