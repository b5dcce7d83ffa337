#include "sim/airlink/channel.h"

#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include "sim/airlink/report.h"

using namespace wdmoe;
using namespace std::chrono_literals;
using airlink::Channel;

namespace {

airlink::Scenario scenario_of(const std::string& text) {
  const auto scenario = airlink::parse_scenario(text, "test.toml");
  REQUIRE_MESSAGE(scenario.has_value(), scenario.error().text);
  return *scenario;
}

std::string error_of(const std::string& text) {
  const auto scenario = airlink::parse_scenario(text, "test.toml");
  REQUIRE_FALSE(scenario.has_value());
  return scenario.error().text;
}

double mbit(const airlink::Flow& flow) {
  return 1e-6 * flow.rate.value();
}

const std::string kStill = "[channel]\nfading = \"none\"\n";
const std::string kTwo =
    "[[device]]\nname = \"a\"\ndown_mbit = 20\nup_mbit = 10\ndelay_ms = 3\nloss = 0.1\n"
    "[[device]]\nname = \"b\"\ndown_mbit = 2\nup_mbit = 1\nqueue_kb = 10\n";

}  // namespace

TEST_CASE("channel: given rates hold where nothing moves") {
  const Channel channel(scenario_of(kStill + kTwo));
  REQUIRE(channel.flows().size() == 4);
  CHECK(mbit(channel.flows()[0]) == doctest::Approx(20).epsilon(1e-9));
  CHECK(mbit(channel.flows()[1]) == doctest::Approx(10).epsilon(1e-9));
  CHECK(mbit(channel.flows()[2]) == doctest::Approx(2).epsilon(1e-9));
  CHECK(channel.flows()[0].delay == 3ms);
  CHECK(channel.flows()[1].loss == 0.1);
  CHECK(channel.flows()[3].queue_bytes == 10'000);
  CHECK(channel.next() == airlink::kNever);
}

TEST_CASE("channel: without given rates, distance and power give Shannon's") {
  const std::string devices = "[[device]]\ndistance_m = 50\npower_w = 0.1\n[[device]]\n";
  const std::string band = "bandwidth_hz = 20e6\ncarrier_hz = 3.5e9\nbs_power_w = 10\n";
  // By hand: loss 32.4 + 20 log10(3.5) + 20 log10(50) = 77.2606 dB, noise -174 dBm/Hz.
  const double gain = std::pow(10, -7.72606), noise = 1e-3 * std::pow(10, -17.4);
  struct Case {
    const char* medium;
    double band;
  };
  for (const Case& c : {Case{"fdma_separate", 10e6}, Case{"airtime", 20e6}}) {
    CAPTURE(c.medium);
    const Channel channel(scenario_of("[cell]\nmedium = \"" + std::string(c.medium) + "\"\n" +
                                      band + kStill + devices));
    const auto rate = [&](double power) {
      return 1e-6 * c.band * std::log2(1 + power * gain / (noise * c.band));
    };
    CHECK(mbit(channel.flows()[0]) == doctest::Approx(rate(10)).epsilon(1e-5));
    CHECK(mbit(channel.flows()[1]) == doctest::Approx(rate(0.1)).epsilon(1e-5));
  }
}

TEST_CASE("channel: events come at their time, in order of time, and change what they name") {
  Channel channel(scenario_of(kStill + kTwo +
                              "[[event]]\nat_s = 30\nrate_factor = 1\n"
                              "[[event]]\nat_s = 20\ndevice = \"a\"\nrate_factor = 0.1\n"
                              "[[event]]\nat_s = 25\ndevice = \"b\"\nloss = 0.5\ndelay_ms = 7\n"));
  CHECK(channel.next() == 20s);
  channel.advance(20s - 1ns);
  CHECK(mbit(channel.flows()[0]) == doctest::Approx(20).epsilon(1e-9));
  channel.advance(20s);
  CHECK(mbit(channel.flows()[0]) == doctest::Approx(2).epsilon(1e-9));
  CHECK(mbit(channel.flows()[1]) == doctest::Approx(1).epsilon(1e-9));
  CHECK(mbit(channel.flows()[2]) == doctest::Approx(2).epsilon(1e-9));
  channel.advance(26s);
  CHECK(mbit(channel.flows()[0]) == doctest::Approx(2).epsilon(1e-9));
  CHECK(channel.flows()[2].loss == 0.5);
  CHECK(channel.flows()[3].delay == 7ms);
  CHECK(channel.flows()[0].delay == 3ms);
  channel.advance(1h);
  CHECK(mbit(channel.flows()[0]) == doctest::Approx(20).epsilon(1e-9));
  CHECK(channel.next() == airlink::kNever);
}

TEST_CASE("channel: fading follows the seed and the steps, not the calls") {
  const auto rates = [](std::uint64_t seed, Nanoseconds call_every) {
    airlink::Scenario scenario = scenario_of(
        "update_ms = 10\n[channel]\nfading = \"rayleigh\"\ncoherence_s = 0.05\n" + kTwo);
    scenario.seed = seed;
    Channel channel(scenario);
    std::vector<double> seen;
    for (Nanoseconds now{0}; now <= 2s; now += call_every) {
      channel.advance(now);
      if (now % 500ms == 0ns)
        for (const airlink::Flow& flow : channel.flows()) seen.push_back(mbit(flow));
    }
    return seen;
  };
  const auto often = rates(1, 1ms);
  CHECK(often == rates(1, 500ms));
  CHECK(often != rates(2, 500ms));
}

TEST_CASE("channel: the links of the simulator's cell and of the air are the same") {
  const std::string common =
      "[cell]\nmedium = \"airtime\"\n[channel]\nfading = \"rician\"\n"
      "[mobility]\nmodel = \"random_waypoint\"\nspeed_m_per_s = 30\n";
  const std::string devices =
      "[[device]]\nname = \"a\"\ndistance_m = 40\npower_w = 0.1\n"
      "[[device]]\nname = \"b\"\ndistance_m = 200\npower_w = 0.3\n";
  airlink::Scenario scenario = scenario_of("seed = 5\nupdate_ms = 20\n" + common + devices);
  Channel channel(scenario);
  const auto simulated = sim::parse_scenario(common + devices, "test.toml");
  REQUIRE(simulated);
  sim::Cell cell(*simulated, 5);
  for (int step = 1; step <= 100; ++step) {
    channel.advance(step * 20ms);
    cell.advance(Seconds(0.02));
  }
  for (std::size_t device = 0; device < 2; ++device) {
    const radio::DeviceDemand& demand = cell.demands()[device];
    const auto rate = [&](Watts power, double gain) {
      const auto link = radio::make_link(power, gain, simulated->cell.noise());
      return 1e-6 * radio::rate_of(link, Hertz(simulated->cell.bandwidth_hz)).value();
    };
    CHECK(mbit(channel.flows()[2 * device]) ==
          doctest::Approx(rate(demand.power_dl, demand.gain_dl)).epsilon(1e-9));
    CHECK(mbit(channel.flows()[2 * device + 1]) ==
          doctest::Approx(rate(demand.power_ul, demand.gain_ul)).epsilon(1e-9));
  }
}

TEST_CASE("scenario: mistakes are one line that names them") {
  const std::string device = "[[device]]\nname = \"a\"\n";
  struct Case {
    const char* name;
    std::string text, error;
  };
  const Case cases[] = {
      {"no device", "name = \"x\"", "at least one [[device]]"},
      {"unknown key", "speed = 3\n" + device, "speed"},
      {"name for a path", "name = \"../x\"\n" + device, "letters, digits and hyphens"},
      {"name of a device", "[[device]]\nname = \"A B\"", "device name 'A B'"},
      {"same name twice", device + device, "'a' is taken"},
      {"name of the base station", "[[device]]\nname = \"bs\"", "'bs' is taken"},
      {"event of nobody", device + "[[event]]\ndevice = \"z\"", "no device is called 'z'"},
      {"no address", "[network]\naddress = \"ten\"\n" + device, "expected an IPv4 address"},
      {"no room for devices", "[network]\naddress = \"10.0.0.254\"\n" + device, "1 to 254"},
      {"two on the host", "[network]\nbs_on_host = true\n" + device + "on_host = true",
       "past the air"},
      {"negative rate", "[[device]]\ndown_mbit = -1", "down_mbit"},
      {"too much loss", "[[device]]\nloss = 1.5", "loss"},
      {"medium", "[cell]\nmedium = \"smoke\"\n" + device, "fdma_separate"},
  };
  for (const Case& c : cases) {
    SUBCASE(c.name) {
      const std::string error = error_of(c.text);
      CHECK(error.find(c.error) != std::string::npos);
      CHECK(error.find("test.toml") == 0);
      CHECK(error.find('\n') == std::string::npos);
    }
  }
}

TEST_CASE("scenario: addresses and namespaces follow one another") {
  airlink::Scenario scenario = scenario_of("name = \"lab\"\n" + kTwo);
  CHECK(scenario.address_of(1) == "10.77.0.3");
  CHECK(scenario.bs_namespace() == "wdmoe.lab.bs");
  CHECK(scenario.namespace_of(1) == "wdmoe.lab.b");
  scenario.devices[1].on_host = true;
  CHECK(scenario.namespace_of(1).empty());
  CHECK(
      airlink::layout_of(scenario) ==
      R"({"base_station":{"name":"bs","address":"10.77.0.1","namespace":"wdmoe.lab.bs","interface":"air0"},)"
      R"("devices":[{"name":"a","address":"10.77.0.2","namespace":"wdmoe.lab.a","interface":"air0"},)"
      R"({"name":"b","address":"10.77.0.3","namespace":"","interface":"air0"}]})");
}

TEST_CASE("scenario: printed keys read back, and the shipped scenario is good") {
  CHECK(airlink::parse_scenario(airlink::print_scenario() + "[[device]]\n", "printed"));
  const auto field = airlink::load_scenario(WDMOE_SOURCE_DIR "/scenarios/field.toml");
  REQUIRE_MESSAGE(field.has_value(), field.error().text);
  CHECK(field->devices.size() == 8);
}
