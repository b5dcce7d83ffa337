#include "bsd/fleet/uplink_actuator.h"

#include <algorithm>

namespace wdmoe::bsd {

Result<void> UplinkActuator::apply(const shaping::Plan& plan) {
  std::vector<double> bps;
  slots_.clear();
  for (const shaping::Share& share : plan.shares) {
    if (bps.size() <= share.slot) bps.resize(share.slot + 1);
    bps[share.slot] = share.up_bps;
    slots_.push_back(share.slot);
  }
  fleet_.set_uplinks(std::move(bps));
  return {};
}

Result<void> UplinkActuator::observe(std::vector<shaping::Observed>& out) {
  const FleetSnapshot fleet = fleet_.snapshot();
  out.clear();
  health_ = {};
  for (const std::size_t slot : slots_) {
    if (slot >= fleet.agents.size() || !fleet.agents[slot].up) continue;
    const AgentSnapshot& agent = fleet.agents[slot];
    shaping::Observed& observed = out.emplace_back();
    observed.slot = slot;
    if (agent.uplink && agent.uplink->pacing_bps > 0) observed.up_bps = agent.uplink->pacing_bps;
    if (agent.paces && !agent.address.empty()) continue;
    health_.degraded = true;
    health_.reason = "agent " + agent.name +
                     (agent.paces ? " is not connected over TCP: nothing to pace"
                                  : " does not pace: set uplink.pacing there, or update it");
  }
  return {};
}

Result<void> UplinkActuator::restore() {
  slots_.clear();
  health_ = {};
  fleet_.set_uplinks({});
  return {};
}

}  // namespace wdmoe::bsd
