#pragma once
// Snapshots as JSON, for the control API.  Pure.

#include <string>

#include "bsd/fleet/fleet.h"

namespace wdmoe::bsd {

/// GET /wdmoe/v1/agents: {"complete", "missing", "agents": [{"name", "up", "experts", "rows", …}]};
/// bytes as the base station counts them, times in seconds, sums since it started.
std::string agents_json(const FleetSnapshot& fleet);

}  // namespace wdmoe::bsd
