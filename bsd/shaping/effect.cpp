#include "bsd/shaping/effect.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace wdmoe::shaping {
namespace {

/// An actuator may enforce the share or, lending what is free, the ceiling.
bool is_commanded(double set, double share, double ceiling) {
  const auto near = [set](double wanted) {
    return std::abs(set - wanted) <= EffectCheck::kTolerance * wanted;
  };
  return near(share) || near(ceiling);
}

std::string differs(const Share& share, const char* direction, double wanted, double set) {
  char text[96];
  std::snprintf(text, sizeof text, ": %s commanded %.2f Mbit/s, set %.2f Mbit/s", direction,
                wanted / 1e6, set / 1e6);
  return share.agent + text;
}

std::uint64_t grown(std::uint64_t now, std::uint64_t then) {
  return now > then ? now - then : 0;
}

}  // namespace

Health EffectCheck::judge(double now_s, const Plan& plan, Span<const Observed> observed,
                          Span<const Traffic> traffic) {
  Health health;
  const auto degrade = [&health](std::string reason) {
    if (!health.degraded) health = {true, std::move(reason)};
  };
  for (const Share& share : plan.shares) {
    const Observed* seen = find_slot(observed, share.slot);
    if (seen == nullptr) {
      degrade(share.agent + " is not shaped: nothing is set for it");
      continue;
    }
    if (seen->down_bps && !is_commanded(*seen->down_bps, share.down_bps, share.down_ceiling_bps))
      degrade(differs(share, "downlink", share.down_bps, *seen->down_bps));
    if (seen->up_bps && !is_commanded(*seen->up_bps, share.up_bps, share.up_ceiling_bps))
      degrade(differs(share, "uplink", share.up_bps, *seen->up_bps));
    if (const Traffic* passed = find_slot(traffic, share.slot);
        passed != nullptr && bypassed(now_s, *seen, *passed))
      degrade(share.agent + "'s traffic does not pass what was set: is this the right interface?");
  }
  return health;
}

bool EffectCheck::bypassed(double now_s, const Observed& observed, const Traffic& traffic) {
  const Mark now{now_s,
                 observed.down_bytes.value_or(0),
                 observed.up_bytes.value_or(0),
                 traffic.sent_bytes,
                 traffic.received_bytes,
                 false};
  const auto [at, first] = marks_.try_emplace(observed.slot, now);
  Mark& mark = at->second;
  const std::uint64_t sent = grown(now.sent, mark.sent);
  const std::uint64_t received = grown(now.received, mark.received);
  if (first || now_s - mark.at_s < kWindow || std::max(sent, received) < kEnough)
    return mark.bypassed;
  const auto misses = [](bool counts, std::uint64_t passed, std::uint64_t payload) {
    return counts && payload >= kEnough && passed < payload / 2;
  };
  const bool bypassed =
      misses(observed.down_bytes.has_value(), grown(now.passed_down, mark.passed_down), sent) ||
      misses(observed.up_bytes.has_value(), grown(now.passed_up, mark.passed_up), received);
  mark = now;
  mark.bypassed = bypassed;
  return bypassed;
}

void EffectCheck::forget() {
  marks_.clear();
}

}  // namespace wdmoe::shaping
