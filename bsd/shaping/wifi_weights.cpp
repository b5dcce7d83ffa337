#include "bsd/shaping/wifi_weights.h"

#include <algorithm>
#include <cmath>

#include "bsd/shaping/nl80211.h"

namespace wdmoe::shaping {

Result<std::map<std::size_t, std::uint16_t>> airtime_weights(const Plan& plan) {
  double sum = 0;
  for (const Share& share : plan.shares) {
    if (!std::isfinite(share.airtime) || share.airtime < 0 || share.airtime > 1)
      return fail(Code::bad_input, "wifi: agent " + share.agent +
                                       ": expected a share of airtime between 0 and 1, not " +
                                       std::to_string(share.airtime));
    sum += share.airtime;
  }
  std::map<std::size_t, std::uint16_t> out;
  const auto agents = static_cast<double>(plan.shares.size());
  for (const Share& share : plan.shares) {
    const double relative = sum > 0 ? share.airtime * agents / sum : 1;
    out[share.slot] = static_cast<std::uint16_t>(
        std::clamp(std::round(relative * kDefaultAirtimeWeight), 1.0, 65535.0));
  }
  return out;
}

}  // namespace wdmoe::shaping
