#pragma once
// The actuator "order": the fleet sends what takes longest first, in pieces, and no more than a
// link carries (send_order.h).  Needs no privilege and no shares: a plan turns it on, restoring
// off. Lives on the io thread, beside the engine's fleet.

#include "bsd/fleet/fleet.h"
#include "bsd/shaping/actuator.h"

namespace wdmoe::bsd {

class OrderActuator final : public shaping::Actuator {
 public:
  explicit OrderActuator(Fleet& fleet) : fleet_(fleet) {}  ///< which outlives it
  ~OrderActuator() override { static_cast<void>(restore()); }

  std::string_view name() const override { return "order"; }
  Result<void> apply(const shaping::Plan& plan) override;
  /// A slot without rates: it sets none.
  Result<void> observe(std::vector<shaping::Observed>& out) override;
  Result<void> restore() override;

 private:
  Fleet& fleet_;
  std::vector<shaping::Observed> slots_;  // of the plan in force
};

}  // namespace wdmoe::bsd
