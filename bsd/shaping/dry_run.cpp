#include "bsd/shaping/dry_run.h"

#include "common/log.h"

namespace wdmoe::shaping {

Result<void> DryRun::apply(const Plan& plan) {
  plan_ = plan;
  for (const Share& share : plan.shares)
    log::info("would_shape", {{"decision", plan.number},
                              {"agent", share.agent},
                              {"down_bps", share.down_bps},
                              {"up_bps", share.up_bps},
                              {"airtime", share.airtime}});
  return {};
}

Result<void> DryRun::observe(std::vector<Observed>& out) {
  out.clear();
  for (const Share& share : plan_.shares)
    out.push_back({share.slot, share.down_bps, share.up_bps, {}, {}, {}});
  return {};
}

Result<void> DryRun::restore() {
  plan_ = {};
  return {};
}

}  // namespace wdmoe::shaping
