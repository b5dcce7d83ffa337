#include "bsd/fleet/shares.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace wdmoe::bsd {
namespace {

/// At least 1 for whatever is limited at all: 0 means the opposite.
std::uint32_t kbps(double bps) {
  if (!(bps > 0)) return 0;
  return static_cast<std::uint32_t>(
      std::clamp(std::round(bps / 1e3), 1.0, double{std::numeric_limits<std::uint32_t>::max()}));
}

}  // namespace

void UplinkShares::set(Span<const double> bps) {
  if (told_.size() < bps.size()) told_.resize(bps.size());
  for (std::size_t device = 0; device < told_.size(); ++device)
    told_[device].wanted_kbps = device < bps.size() ? kbps(bps[device]) : 0;
}

std::optional<wire::Share> UplinkShares::due(std::size_t device, Instant now) {
  if (device >= told_.size()) return std::nullopt;
  Told& told = told_[device];
  const bool changed = told.wanted_kbps != told.told_kbps;
  if (!changed && (told.wanted_kbps == 0 || now < told.repeat)) return std::nullopt;
  told.told_kbps = told.wanted_kbps;
  told.repeat = now + kRepeat;
  return wire::Share{told.wanted_kbps, static_cast<std::uint32_t>(kLifetime.count())};
}

void UplinkShares::forget(std::size_t device) {
  if (device < told_.size()) told_[device].told_kbps = 0;
}

}  // namespace wdmoe::bsd
