#pragma once
// Who shall hold which expert: pure functions from sizes or a plan file to a checked plan.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "weights/manifest.h"

namespace wdmoe::weights {

struct AgentPlan {
  std::string name;               ///< also the name of its folder
  std::vector<ExpertId> experts;  ///< sorted, not empty, no duplicates
};

/// Every expert is with an agent or at the base station; several agents may hold the same one.
struct SplitPlan {
  std::vector<AgentPlan> agents;
  std::vector<ExpertId> on_bs;
};

/// The paper's: expert k of every layer on agent k mod `agents`, named "agent-0", "agent-1", …
/// bad_input when `agents` is 0 or larger than `experts` (somebody would hold nothing).
Result<SplitPlan> default_plan(std::size_t agents, std::size_t layers, std::size_t experts);

/// A plan file:
///   {"agents": [{"name": "kitchen", "experts": [[layer, expert], …]},
///               {"name": "attic", "experts": {"all_layers": [expert, …]}}],
///    "bs": [[layer, expert], …] or {"all_layers": […]} or "rest"}
/// "bs" may be left out.  Errors name the agent and key; an expert nobody has is named.
Result<SplitPlan> parse_plan(std::string_view json, std::size_t layers, std::size_t experts);

/// The plan in file `path`; errors name it.
Result<SplitPlan> load_plan(const std::filesystem::path& path, std::size_t layers,
                            std::size_t experts);

}  // namespace wdmoe::weights
