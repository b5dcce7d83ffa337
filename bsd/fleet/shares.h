#pragma once
// Which agent has to be told how fast it may send, and when.  Pure.

#include <cstddef>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/span.h"
#include "wire/messages.h"

namespace wdmoe::bsd {

class UplinkShares {
 public:
  /// A share that is not repeated ends: a base station that died slows nobody for longer.
  static constexpr milliseconds kLifetime{2'000}, kRepeat{500};

  /// [devices], bit/s of payload; 0, and whoever is beyond the end: not limited.
  void set(Span<const double> bps);
  /// What to send to `device` now, if anything; it counts as sent.
  std::optional<wire::Share> due(std::size_t device, Instant now);
  /// It has a new connection or process: whatever it was told is gone.
  void forget(std::size_t device);

 private:
  struct Told {
    std::uint32_t wanted_kbps = 0, told_kbps = 0;
    Instant repeat{};
  };
  std::vector<Told> told_;  // [devices]
};

}  // namespace wdmoe::bsd
