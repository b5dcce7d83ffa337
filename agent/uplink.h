#pragma once
// The way back to the base station: sends as fast as that asks for, as long as it keeps asking, and
// reports what this machine's kernel sees of the connection.  Over ipc:// there is nothing to do.

#include <optional>

#include "common/clock.h"
#include "wire/connection.h"
#include "wire/messages.h"

namespace wdmoe::agent {

class Uplink {
 public:
  /// The time between two reports in answers: some thousandth of the uplink's bytes, and often
  /// enough for a controller that looks every 20 ms.
  static constexpr milliseconds kReportEvery{10};
  /// However small the share, heartbeats and the next share must get through.
  static constexpr BitsPerSecond kLeast{64e3};

  /// A frame came over `source`.  A new connection is paced as the one before it was.
  void heard(const wire::Source& source);
  /// What to keep to from now on.
  void told(const wire::Share& share, Instant now);
  /// Ends the pacing when the base station has not repeated it in time.
  void keep(Instant now);
  Instant next_due() const { return until_; }  ///< when keep() may have something to do

  /// For the next answer; none if there is no connection or the last report is fresh.
  std::optional<wire::Uplink> report(Instant now);

 private:
  void apply();

  std::optional<wire::Connection> connection_;
  BitsPerSecond rate_;              // 0: not paced
  Instant until_ = Instant::max();  // max: not paced
  Instant next_report_{};
};

}  // namespace wdmoe::agent
