#pragma once
// The actuator that touches nothing: it logs what the others would be told.

#include "bsd/shaping/actuator.h"

namespace wdmoe::shaping {

class DryRun final : public Actuator {
 public:
  std::string_view name() const override { return "dry-run"; }
  Result<void> apply(const Plan& plan) override;
  Result<void> observe(std::vector<Observed>& out) override;  ///< what was logged last
  Result<void> restore() override;

 private:
  Plan plan_;
};

}  // namespace wdmoe::shaping
