#pragma once
// Agents as the controller's tests see them.

#include <string>

#include "bsd/shaping/controller.h"

namespace wdmoe::test {

constexpr double kBitsPerRow = 4096 * 8;
constexpr double kTick = 0.02;

/// An agent whose link is measured.
inline shaping::AgentInput measured_agent(std::size_t slot, double down_bps, double up_bps,
                                          double rows = 4) {
  shaping::AgentInput input;
  input.slot = slot;
  input.name = "agent-" + std::to_string(slot);
  input.address = "10.0.0." + std::to_string(slot + 2);
  input.link.known = true;
  input.link.down.rate_bps = down_bps;
  input.link.up.rate_bps = up_bps;
  input.link.down.measured = input.link.up.measured = true;
  input.link.base_rtt_s = 0.01;
  input.link.compute = {1e-3, 1e-4};
  input.link.rows = rows;
  return input;
}

}  // namespace wdmoe::test
