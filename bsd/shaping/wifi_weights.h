#pragma once
// Airtime weights out of a plan, pure.

#include <cstdint>
#include <map>

#include "bsd/shaping/actuator.h"
#include "common/result.h"

namespace wdmoe::shaping {

/// slot -> weight: airtime shares in proportion, the average at mac80211's default of 256, so that
/// stations that are no agents keep what they would have among equals.  Between 1 and 65535, the
/// kernel's bounds.  bad_input names the agent whose airtime is no share.
Result<std::map<std::size_t, std::uint16_t>> airtime_weights(const Plan& plan);

}  // namespace wdmoe::shaping
