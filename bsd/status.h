#pragma once
// The state of the whole base station as JSON: GET /wdmoe/v1/status, what `wdmoe status` shows.
// Pure.

#include <string>

#include "bsd/air_control.h"
#include "bsd/engine.h"
#include "bsd/fleet/fleet.h"
#include "bsd/moe/ledger.h"

namespace wdmoe::bsd {

struct StatusInput {
  std::string model, policy;
  bool ready = false;
  double now_s = 0;  ///< on the clock of the estimates
  EngineStats engine;
  FleetSnapshot fleet;  ///< empty with the experts in this process
  AirReport air;
  PredictionErrors prediction;
};

/// docs/api.md lists the fields; docs/radio.md explains those of links and radio.
std::string status_json(const StatusInput& status);

/// The "radio" of it alone, for GET and PUT /wdmoe/v1/radio.
std::string radio_json(const AirReport& air);

}  // namespace wdmoe::bsd
