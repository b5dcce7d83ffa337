#include "bsd/fleet/order_actuator.h"

namespace wdmoe::bsd {

Result<void> OrderActuator::apply(const shaping::Plan& plan) {
  slots_.clear();
  for (const shaping::Share& share : plan.shares) slots_.emplace_back().slot = share.slot;
  fleet_.set_ordered(true);
  return {};
}

Result<void> OrderActuator::observe(std::vector<shaping::Observed>& out) {
  out = slots_;
  return {};
}

Result<void> OrderActuator::restore() {
  slots_.clear();
  fleet_.set_ordered(false);
  return {};
}

}  // namespace wdmoe::bsd
