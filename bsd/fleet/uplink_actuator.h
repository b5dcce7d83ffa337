#pragma once
// The actuator "uplink": every agent limits its own socket to its share of the uplink, told by the
// fleet (docs/protocol.md, Share) and read back from what the agents report.  Needs no privilege on
// either side.  Lives on the io thread, beside the engine's fleet.

#include <string>
#include <vector>

#include "bsd/fleet/fleet.h"
#include "bsd/shaping/actuator.h"

namespace wdmoe::bsd {

class UplinkActuator final : public shaping::Actuator {
 public:
  explicit UplinkActuator(Fleet& fleet) : fleet_(fleet) {}  ///< which outlives it
  ~UplinkActuator() override { static_cast<void>(restore()); }

  std::string_view name() const override { return "uplink"; }
  Result<void> apply(const shaping::Plan& plan) override;
  Result<void> observe(std::vector<shaping::Observed>& out) override;
  /// Degraded while agents of the plan cannot pace, or do not report that they do.
  shaping::Health health() const override { return health_; }
  Result<void> restore() override;

 private:
  Fleet& fleet_;
  std::vector<std::size_t> slots_;  // of the plan in force
  shaping::Health health_;
};

}  // namespace wdmoe::bsd
