#pragma once
// Temperature and power of this machine, where the kernel offers them.  Looked for once at start;
// read at most once a second, away from the path of a request.

#include <filesystem>
#include <vector>

#include "common/clock.h"
#include "common/fd.h"
#include "wire/messages.h"

namespace wdmoe::agent {

class HealthSensors {
 public:
  /// `sysfs`: normally /sys.  Takes the hottest /sys/class/thermal zone, and the sum of what every
  /// hwmon power sensor says (power*_input, else in*_input times curr*_input of an ina3221).
  explicit HealthSensors(const std::filesystem::path& sysfs = "/sys");

  /// Reads the sensors if the last time is a second ago.
  void refresh(Instant now);
  const wire::Health& latest() const { return latest_; }

 private:
  /// Volt and ampere in thousandths, or microwatts with `amperes` absent.
  struct PowerSensor {
    OwnedFd watts, volts, amperes;
  };
  void find_power(const std::filesystem::path& hwmon);

  std::vector<OwnedFd> zones_;
  std::vector<PowerSensor> power_;
  wire::Health latest_;
  Instant next_{};
};

}  // namespace wdmoe::agent
