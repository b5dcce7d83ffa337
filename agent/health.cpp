#include "agent/health.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include <fcntl.h>
#include <unistd.h>

namespace wdmoe::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostSensors = 64;

OwnedFd open_sensor(const fs::path& file) {
  return OwnedFd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

/// A sysfs attribute answers each pread from offset 0 with a fresh value.
std::optional<double> read_number(const OwnedFd& fd) {
  std::array<char, 32> text{};
  const ssize_t got = ::pread(fd.get(), text.data(), text.size() - 1, 0);
  if (got <= 0) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(text.data(), &end);
  if (end == text.data()) return std::nullopt;
  return value;
}

std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error))
    if (found.size() < kMostSensors) found.push_back(entry->path());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

HealthSensors::HealthSensors(const fs::path& sysfs) {
  for (const fs::path& zone : entries(sysfs / "class/thermal"))
    if (zone.filename().string().rfind("thermal_zone", 0) == 0)
      if (OwnedFd fd = open_sensor(zone / "temp"); fd.valid()) zones_.push_back(std::move(fd));
  for (const fs::path& hwmon : entries(sysfs / "class/hwmon")) find_power(hwmon);
}

void HealthSensors::find_power(const fs::path& hwmon) {
  std::string chip;
  std::getline(std::ifstream(hwmon / "name"), chip);
  constexpr int kChannels = 3;  // of an ina3221; other chips' power sensors are few as well
  for (int channel = 1; channel <= kChannels; ++channel) {
    const std::string number = std::to_string(channel);
    PowerSensor sensor;
    sensor.watts = open_sensor(hwmon / ("power" + number + "_input"));
    if (!sensor.watts.valid() && chip == "ina3221") {
      sensor.volts = open_sensor(hwmon / ("in" + number + "_input"));
      sensor.amperes = open_sensor(hwmon / ("curr" + number + "_input"));
    }
    if (sensor.watts.valid() || (sensor.volts.valid() && sensor.amperes.valid()))
      power_.push_back(std::move(sensor));
  }
}

void HealthSensors::refresh(Instant now) {
  if (now < next_) return;
  next_ = now + std::chrono::seconds(1);
  double hottest = 0, watts = 0;
  for (const OwnedFd& zone : zones_)
    hottest = std::max(hottest, read_number(zone).value_or(0) / 1e3);  // millidegrees
  for (const PowerSensor& sensor : power_) {
    if (sensor.watts.valid())
      watts += read_number(sensor.watts).value_or(0) / 1e6;  // microwatts
    else
      watts +=
          read_number(sensor.volts).value_or(0) * read_number(sensor.amperes).value_or(0) / 1e6;
  }
  latest_ = {static_cast<float>(hottest), static_cast<float>(watts)};
}

}  // namespace wdmoe::agent
