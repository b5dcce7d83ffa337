#pragma once
// What wdmoe-airlink says: the layout of the cell when it is ready, and what it carried at the end.
// docs/airlink.md lists the fields.

#include <string>

#include "sim/airlink/relay.h"
#include "sim/airlink/scenario.h"

namespace wdmoe::airlink {

/// One line of JSON: where base station and devices are.
std::string layout_of(const Scenario& scenario);

struct Usage {
  bool real_time = false;  ///< ran with a real-time priority
  double cpu_s = 0;
};

/// A JSON document.
std::string report_of(const Scenario& scenario, const Air& air, const Record& record,
                      const Usage& usage);

}  // namespace wdmoe::airlink
