#pragma once
// The controller's place in the station: a timer on the io thread that carries what the fleet knows
// to the shaper, and what the shaper enforces back to the fleet.

#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bsd/config.h"
#include "bsd/fleet/fleet.h"
#include "bsd/radio/link_state.h"
#include "bsd/shaping/shaper.h"
#include "common/clock.h"

namespace wdmoe::bsd {

/// What status and metrics show of the air.
struct AirReport {
  std::vector<radio::LinkState> links;          ///< in the order of the fleet's agents
  std::optional<shaping::ShaperReport> shaper;  ///< none: nothing may act on the air
};

/// Lives on the io thread.
class AirControl {
 public:
  /// Controls if radio.actuators or radio.log_csv asks for it, else it only reports.  All outlive
  /// it.  `bits_per_row`: L_comm, each way.  Throws like make_actuators(); runtime_error: the log
  /// cannot be written.
  AirControl(boost::asio::io_context& io, const Config& config, Fleet& fleet, const Clock& clock,
             double bits_per_row);

  void start();
  void stop();  ///< everything is as it was found
  /// unavailable: nothing may act on the air.
  Result<void> freeze(bool on);
  AirReport report() const;

 private:
  void arm();
  void tick();
  void tell_limits();
  void pass_on(const shaping::Observed& seen);

  const Config& config_;
  Fleet& fleet_;
  const Clock& clock_;
  const double bits_per_row_;
  std::unique_ptr<shaping::Shaper> shaper_;
  boost::asio::steady_timer timer_;
  Instant due_{};
  std::vector<shaping::AgentInput> agents_;
  std::vector<shaping::Traffic> traffic_;
  Instant limits_told_{};
};

}  // namespace wdmoe::bsd
