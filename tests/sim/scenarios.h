#pragma once
// Scenarios of the simulator's tests.

#include <string>

#include <doctest/doctest.h>

#include "sim/scenario.h"

namespace wdmoe::test {

/// The scenario that `toml` describes, which must be sound.
inline sim::Scenario scenario_of(const std::string& toml) {
  auto scenario = sim::parse_scenario(toml, "test.toml");
  REQUIRE_MESSAGE(scenario.has_value(), scenario.error().text);
  return *scenario;
}

}  // namespace wdmoe::test
