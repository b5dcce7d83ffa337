#include "cli/allocate.h"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using nlohmann::json;
using namespace wdmoe;
using cli::allocate_json;

static json device(double tokens, double gain) {
  return {{"tokens", tokens}, {"power_dl_w", 10}, {"power_ul_w", 0.2},
          {"gain_dl", gain},  {"gain_ul", gain},  {"compute_s_per_token", 1e-4}};
}

static json instance(const std::string& model) {
  return {{"model", model},
          {"bandwidth_hz", 100e6},
          {"noise_w_per_hz", 3.98e-21},
          {"bits_per_token", 65536},
          {"devices", {device(10, 1e-11), device(0, 0), device(4, 1e-12)}}};
}

TEST_CASE("wdmoe allocate: shares, rates and latencies fit together in every model") {
  for (const std::string model : {"fdma_separate", "fdma_common", "airtime"}) {
    CAPTURE(model);
    const auto text = allocate_json(instance(model).dump());
    REQUIRE(text.has_value());
    const json out = json::parse(*text);
    CHECK(out["kkt_residual"].get<double>() <= 1e-9);
    const double waiting = out["waiting_latency_s"];
    REQUIRE(out["devices"].size() == 3);
    double down = 0, up = 0;
    for (const json& share : out["devices"]) {
      down += share["bandwidth_dl_hz"].get<double>();
      up += share["bandwidth_ul_hz"].get<double>();
    }
    if (model == "airtime") down = up = down + up;
    CHECK(down == doctest::Approx(100e6).epsilon(1e-12));
    CHECK(up == doctest::Approx(100e6).epsilon(1e-12));
    CHECK(out["devices"][1]["latency_s"] == 0);
    for (const std::size_t index : {0, 2}) {
      const json& share = out["devices"][index];
      const double tokens = index == 0 ? 10 : 4;
      const double bits = 65536;
      const double latency = tokens * (bits / share["rate_dl_bit_per_s"].get<double>() +
                                       bits / share["rate_ul_bit_per_s"].get<double>() + 1e-4);
      CHECK(share["latency_s"].get<double>() == doctest::Approx(latency).epsilon(1e-12));
      CHECK(latency == doctest::Approx(waiting).epsilon(1e-9));
      if (model == "fdma_common") CHECK(share["bandwidth_dl_hz"] == share["bandwidth_ul_hz"]);
    }
  }
}

TEST_CASE("wdmoe allocate: a bad instance is refused in one line that names the field") {
  struct Case {
    const char* name;
    std::string text;
    const char* says;
  };
  const auto with = [](const char* pointer, const json& value) {
    json spoilt = instance("airtime");
    spoilt[json::json_pointer(pointer)] = value;
    return spoilt.dump();
  };
  const auto without = [](const char* pointer) {
    return instance("airtime").patch({{{"op", "remove"}, {"path", pointer}}}).dump();
  };
  const Case cases[] = {
      {"nothing", "", "not JSON: "},
      {"half", "{\"model\": \"airtime\", \"devices\": [", "not JSON: "},
      {"a number beyond double", "[1e999]", "not JSON: "},
      {"bytes that are no text", "{\"\xff\xfe\": 1}", "not JSON: "},
      {"another document", "[1, 2]", "the instance is array, expected an object"},
      {"no model", without("/model"), "model is missing"},
      {"model of another type", with("/model", 3), "model is number, expected fdma_separate"},
      {"an unknown model", with("/model", "tdma\nx"), "model is \"tdma\\nx\", expected fdma_"},
      {"no bandwidth", without("/bandwidth_hz"), "bandwidth_hz is missing"},
      {"bandwidth as text", with("/bandwidth_hz", "100e6"),
       "bandwidth_hz is string, expected a number"},
      {"no devices", without("/devices"), "devices is missing"},
      {"devices as object", with("/devices", json::object()),
       "devices is object, expected an array"},
      {"a device that is none", with("/devices/1", 7),
       "device 1: it is number, expected an object"},
      {"a misspelt field", with("/devices/1/gain_down", 1),
       "device 1: unknown field \"gain_down\""},
      {"an unknown field", with("/bandwith", 1), "unknown field \"bandwith\""},
      {"a missing field", without("/devices/2/compute_s_per_token"),
       "device 2: compute_s_per_token is missing"},
      {"null", with("/devices/2/tokens", nullptr), "device 2: tokens is null, expected a number"},
      {"a negative value", with("/devices/2/tokens", -4), "device 2: tokens is -4"},
      {"tokens without a link", with("/devices/1/tokens", 5),
       "device 1 has tokens but no downlink"},
      {"a field given twice", "{\"model\": \"airtime\", \"model\": \"airtime\"}",
       "field \"model\" is given twice"},
      {"depth", std::string(100000, '['), "not JSON: "},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.name));
    const auto refused = allocate_json(c.text);
    REQUIRE(!refused.has_value());
    CAPTURE(refused.error().text);
    CHECK(refused.error().text.find(c.says) == 0);
    CHECK(refused.error().text.find('\n') == std::string::npos);
    CHECK(refused.error().text.size() < 400);
  }
}

TEST_CASE("wdmoe allocate: no truncation or flipped bit crashes it") {
  const std::string whole = instance("fdma_separate").dump();
  for (std::size_t length = 0; length < whole.size(); ++length)
    CHECK(!allocate_json(whole.substr(0, length)).has_value());
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    (void)allocate_json(flipped);
  }
}
