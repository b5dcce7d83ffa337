// Store, HealthSensors and the settings.

#include <filesystem>
#include <fstream>
#include <sstream>

#include <doctest/doctest.h>

#include "agent/config.h"
#include "agent/health.h"
#include "agent/store.h"
#include "tests/support/random_experts.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::agent;
namespace fs = std::filesystem;

TEST_CASE("store: finds what it holds, by layer and expert") {
  const test::RandomExperts weights(3, 4, 8, 8);
  auto backend = kernels::make_reference_backend();
  const auto store = Store::load(
      "m", {{{2, 3}, weights.at(2, 3)}, {{0, 1}, weights.at(0, 1)}, {{2, 0}, weights.at(2, 0)}},
      *backend);
  REQUIRE(store);
  CHECK(store->hidden() == 8);
  CHECK(store->weights_bytes() == 3 * 3 * 64 * 4);
  CHECK(store->widest_layer() == 2);
  CHECK(store->experts() == std::vector<ExpertId>{{0, 1}, {2, 0}, {2, 3}});
  CHECK(find_slot(store->layer(2), 3) == 1);
  CHECK_FALSE(find_slot(store->layer(2), 1));
  CHECK(store->layer(1).empty());
  CHECK(store->layer(3).empty());
}

TEST_CASE("store: nothing, the same twice and unfitting experts are errors that name them") {
  const test::RandomExperts weights(1, 2, 8, 8), wider(1, 2, 9, 8);
  auto backend = kernels::make_reference_backend();
  CHECK_FALSE(Store::load("m", {}, *backend));
  const auto twice =
      Store::load("m", {{{0, 1}, weights.at(0, 1)}, {{0, 1}, weights.at(0, 1)}}, *backend);
  REQUIRE_FALSE(twice);
  CHECK(twice.error().text.find("expert 1") != std::string::npos);
  const auto unfit =
      Store::load("m", {{{0, 0}, weights.at(0, 0)}, {{0, 1}, wider.at(0, 1)}}, *backend);
  REQUIRE_FALSE(unfit);
  CHECK(unfit.error().text.find("layer 0 expert 1") != std::string::npos);
}

TEST_CASE("health: reads the hottest zone and sums the power, at most once a second") {
  const test::TempFolder folder;
  const fs::path sys = folder.path();
  const auto write = [&](const char* file, const char* text) {
    fs::create_directories((sys / file).parent_path());
    std::ofstream(sys / file) << text;
  };
  write("class/thermal/thermal_zone0/temp", "41000\n");
  write("class/thermal/thermal_zone1/temp", "52500\n");
  write("class/thermal/cooling_device0/temp", "99000\n");
  write("class/hwmon/hwmon0/name", "ina3221\n");
  write("class/hwmon/hwmon0/in1_input", "5000\n");
  write("class/hwmon/hwmon0/curr1_input", "800\n");
  write("class/hwmon/hwmon1/name", "other\n");
  write("class/hwmon/hwmon1/power1_input", "1500000\n");
  write("class/hwmon/hwmon1/in1_input", "5000\n");
  write("class/hwmon/hwmon2/name", "broken\n");
  write("class/hwmon/hwmon2/power1_input", "no number\n");
  HealthSensors sensors(sys);
  const Instant start{std::chrono::hours(1)};
  sensors.refresh(start);
  CHECK(sensors.latest().temperature_celsius == 52.5f);
  CHECK(sensors.latest().power_watts == 5.5f);
  write("class/thermal/thermal_zone1/temp", "60000\n");
  sensors.refresh(start + milliseconds(999));
  CHECK(sensors.latest().temperature_celsius == 52.5f);
  sensors.refresh(start + milliseconds(1000));
  CHECK(sensors.latest().temperature_celsius == 60.0f);
  for (const auto& entry : fs::directory_iterator(sys)) fs::remove_all(entry);

  HealthSensors none(sys);
  none.refresh(start);
  CHECK(none.latest().temperature_celsius == 0);
  CHECK(none.latest().power_watts == 0);
}

TEST_CASE("config: systemd/agent.toml is what --print-config says") {
  Config config;
  const auto settings = settings_of(config);
  std::ifstream in(WDMOE_SOURCE_DIR "/systemd/agent.toml");
  REQUIRE_MESSAGE(in, "make it: wdmoe-agent --print-config > systemd/agent.toml");
  std::ostringstream text;
  text << in.rdbuf();
  CHECK(text.str() == print_toml(settings));
  CHECK(read_toml(text.str(), "agent.toml", settings));
}
