#pragma once
// From names in the configuration to actuators.

#include <memory>
#include <vector>

#include "bsd/config.h"
#include "bsd/fleet/fleet.h"
#include "bsd/shaping/actuator.h"

namespace wdmoe::bsd {

/// Checks radio.actuators without touching anything.  Throws ConfigError for a name that is none or
/// twice there, for tc and wifi without an interface, and for any without a fleet; runtime_error
/// where CAP_NET_ADMIN is needed and absent.
void check_actuators(const Config& config);

/// Those of radio.actuators, in that order.  They claim what they need and change nothing yet.
/// `fleet` outlives them.  Throws as check_actuators(), and runtime_error for what the machine
/// refuses.
std::vector<std::unique_ptr<shaping::Actuator>> make_actuators(const Config& config, Fleet& fleet);

/// The class of every agent's packets, where tc makes classes; else nothing.
Connections::PriorityOf priority_of(const Config& config);

}  // namespace wdmoe::bsd
