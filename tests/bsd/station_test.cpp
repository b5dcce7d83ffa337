// What surrounds the station: its settings, its metrics page and its reports.

#include <fstream>
#include <sstream>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "bsd/actuators.h"
#include "bsd/config.h"
#include "bsd/control.h"
#include "bsd/metrics.h"
#include "bsd/reports.h"
#include "bsd/status.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

FleetSnapshot one_agent() {
  AgentSnapshot agent;
  agent.name = "jetson-1";
  agent.up = true;
  agent.experts = 12;
  agent.rows = 7;
  agent.dispatches = 5;
  agent.bytes_sent = 1000;
  agent.bytes_received = 2000;
  agent.compute = microseconds(1500);
  FleetSnapshot fleet;
  fleet.complete = true;
  fleet.missing = "every expert has a home";
  fleet.agents = {agent};
  return fleet;
}

/// One agent with a link, granted a share by one actuator.
AirReport air_of_one() {
  AirReport air;
  radio::LinkState link;
  link.known = true;
  link.down = {8e6, true, 99, 0.25};
  link.up = {4e6, false, 98, 0};
  link.base_rtt_s = 0.012;
  link.rows = 2.5;
  air.links = {link};
  shaping::ShaperReport& shaper = air.shaper.emplace();
  shaper.state = shaping::ShaperState::frozen;
  shaper.ticks = 10;
  shaper.late_ticks = 1;
  shaping::Share share;
  share.agent = "jetson-1";
  share.down_bps = 16e5;
  shaper.plan.number = 3;
  shaper.plan.shares = {share};
  shaping::ActuatorReport tc;
  tc.name = "tc";
  tc.health = {true, "jetson-1 is not shaped: nothing is set for it"};
  tc.applied = 3;
  shaping::Observed observed;
  observed.down_bps = 8e5;
  tc.observed = {observed};
  shaper.actuators = {tc};
  return air;
}

bool has_line(const std::string& page, const std::string& line) {
  std::istringstream lines(page);
  for (std::string each; std::getline(lines, each);)
    if (each == line) return true;
  return false;
}

}  // namespace

TEST_CASE("config: systemd/bsd.toml is what --print-config says") {
  bsd::Config config;
  const auto settings = settings_of(config);
  std::ifstream in(WDMOE_SOURCE_DIR "/systemd/bsd.toml");
  REQUIRE_MESSAGE(in, "make it: wdmoe-bsd --print-config > systemd/bsd.toml");
  std::ostringstream text;
  text << in.rdbuf();
  CHECK(text.str() == print_toml(settings));
  CHECK(read_toml(text.str(), "bsd.toml", settings));
}

TEST_CASE("metrics: the page holds engine, agents and HTTP in Prometheus' text format") {
  EngineStats engine;
  engine.running = 2;
  engine.generated_tokens = 40;
  engine.kv_pages_total = 10;
  engine.kv_pages_free = 4;
  engine.costs.wire_wait = std::chrono::milliseconds(1500);
  Metrics metrics;
  metrics.count_request(200);
  metrics.count_request(200);
  metrics.count_request(499);
  metrics.observe_first_token(0.03);
  const FleetSnapshot fleet = one_agent();
  LedgerSnapshot selection;
  selection.layers.resize(2);
  selection.layers[1].tally = {10, 9.5, 3, 2};
  selection.layers[1].waits = 4;
  selection.layers[1].predicted_waits = 3;
  selection.layers[1].predicted_s = 0.5;
  selection.layers[1].response_s = 0.75;
  selection.layers[1].blocked_s = 1;
  selection.ratios.counts[5] = 2;   // up to 1
  selection.ratios.counts[11] = 1;  // beyond 4
  selection.ratios.sum = 7.5;
  const std::string page = metrics.text(engine, &fleet, selection, "minmax");
  CAPTURE(page);
  for (const char* line :
       {"wdmoe_sequences_running 2",
        "wdmoe_tokens_total{kind=\"completion\"} 40",
        "wdmoe_kv_cache_pages{state=\"used\"} 6",
        "wdmoe_stage_seconds_total{stage=\"wire_wait\"} 1.5",
        "wdmoe_requests_total{code=\"200\"} 2",
        "wdmoe_requests_total{code=\"499\"} 1",
        "wdmoe_time_to_first_token_seconds_bucket{le=\"0.02\"} 0",
        "wdmoe_time_to_first_token_seconds_bucket{le=\"0.05\"} 1",
        "wdmoe_device_up{device=\"jetson-1\"} 1",
        "wdmoe_wire_bytes_total{device=\"jetson-1\",direction=\"downlink\"} 1000",
        "wdmoe_wire_bytes_total{device=\"jetson-1\",direction=\"uplink\"} 2000",
        "wdmoe_dispatches_total{device=\"jetson-1\",outcome=\"answered\"} 5",
        "# TYPE wdmoe_wire_bytes_total counter",
        "wdmoe_selection_policy_info{policy=\"minmax\"} 1",
        "wdmoe_gate_rows_total{layer=\"1\"} 10",
        "wdmoe_kept_gate_mass_total{layer=\"1\"} 9.5",
        "wdmoe_experts_dropped_total{layer=\"1\",reason=\"policy\"} 3",
        "wdmoe_experts_substituted_total{layer=\"1\"} 2",
        "wdmoe_layer_waits_total{layer=\"1\",predicted=\"yes\"} 3",
        "wdmoe_layer_waits_total{layer=\"1\",predicted=\"no\"} 1",
        "wdmoe_layer_wait_seconds_total{layer=\"1\",kind=\"predicted\"} 0.5",
        "wdmoe_layer_wait_seconds_total{layer=\"1\",kind=\"measured_of_predicted\"} 0.75",
        "wdmoe_layer_wait_seconds_total{layer=\"1\",kind=\"measured\"} 1",
        "wdmoe_layer_wait_prediction_ratio_bucket{le=\"0.9\"} 0",
        "wdmoe_layer_wait_prediction_ratio_bucket{le=\"1\"} 2",
        "wdmoe_layer_wait_prediction_ratio_bucket{le=\"+Inf\"} 3",
        "wdmoe_layer_wait_prediction_ratio_count 3",
        "wdmoe_layer_wait_prediction_ratio_sum 7.5"})
    CHECK_MESSAGE(has_line(page, line), line);
  CHECK(metrics.text(engine, nullptr, {}, "topk").find("wdmoe_device_up") == std::string::npos);
}

TEST_CASE("metrics and reports: temperature and power are there only where they were measured") {
  FleetSnapshot fleet = one_agent();
  const Metrics metrics;
  const auto shows = [&](const char* text) {
    return metrics.text({}, &fleet, {}, "topk").find(text) != std::string::npos;
  };
  const auto agent = [&] { return nlohmann::json::parse(agents_json(fleet))["agents"][0]; };
  CHECK_FALSE(shows("wdmoe_device_temperature_celsius{"));
  CHECK_FALSE(shows("wdmoe_device_power_watts{"));
  CHECK_FALSE(agent().contains("temperature_celsius"));
  CHECK_FALSE(agent().contains("power_watts"));
  fleet.agents[0].health = {41.5f, 7.25f};
  CHECK(shows("wdmoe_device_temperature_celsius{device=\"jetson-1\"} 41.5"));
  CHECK(shows("wdmoe_device_power_watts{device=\"jetson-1\"} 7.25"));
  CHECK(agent()["temperature_celsius"] == 41.5);
  CHECK(agent()["power_watts"] == 7.25);
}

TEST_CASE("reports: agents as JSON, with units in the names") {
  const auto body = nlohmann::json::parse(agents_json(one_agent()));
  CHECK(body["complete"] == true);
  REQUIRE(body["agents"].size() == 1);
  CHECK(body["agents"][0]["name"] == "jetson-1");
  CHECK(body["agents"][0]["compute_s"] == doctest::Approx(0.0015));
  CHECK(body["agents"][0]["round_trips"] == 5);
  CHECK(nlohmann::json::parse(agents_json({}))["agents"].empty());
}

TEST_CASE("reports: an agent's words that are no UTF-8 are replaced") {
  FleetSnapshot fleet = one_agent();
  fleet.agents[0].software = std::string(1, '\xff');
  const auto body = nlohmann::json::parse(agents_json(fleet));
  CHECK(body["agents"][0]["software"] == "\xef\xbf\xbd");
}

TEST_CASE("control: the fingerprint names the knob that the policy reads, and no other") {
  const SteadyClock clock;
  trace::Recorder recorder({}, clock);
  const auto of = [&](const PolicySetting& setting, const PolicyWish& wish = {},
                      std::vector<double> layers = {}) {
    const auto policy = SwitchablePolicy::make(setting, std::move(layers)).value();
    Control control(*policy, recorder, "0123456789abcdef");
    api::Hooks hooks;
    control.serve(hooks);
    const std::string text = hooks.fingerprint(wish);
    const std::string front = "wdmoe-" WDMOE_VERSION "-", back = "-01234567";
    REQUIRE(text.size() > front.size() + back.size());
    CHECK(text.substr(0, front.size()) == front);
    CHECK(text.substr(text.size() - back.size()) == back);
    return text.substr(front.size(), text.size() - front.size() - back.size());
  };
  CHECK(of({"topk", {0.9, 0.4}}) == "topk");
  CHECK(of({"topk", {}}, {{}, 0.9}, {0.5, 0.6}) == "topk");
  CHECK(of({"beta", {0.9, 0.25}}) == "beta@0.25");
  CHECK(of({"budget", {}}) == "budget");
  CHECK(of({"budget", {0.6}}) == "budget@0.6");
  CHECK(of({"budget", {0.6000001}}) == "budget@0.6000001");
  CHECK(of({"topk", {0.9}}, {policy_index("minmax").value(), 0.7}) == "minmax@0.7");
  CHECK(of({"minmax", {0.9}}, {}, {0.5, 0.6}) == "minmax@0.9");  // goes before the layers'
  const std::string layers = of({"minmax", {}}, {}, {0.5, 0.6});
  CHECK(layers.rfind("minmax@layers:", 0) == 0);
  CHECK(of({"minmax", {}}, {}, {0.5, 0.6}) == layers);
  CHECK(of({"minmax", {}}, {}, {0.6, 0.5}) != layers);
}

TEST_CASE("metrics: the air's page holds estimates, what was commanded and what is observed") {
  const FleetSnapshot fleet = one_agent();
  const AirReport air = air_of_one();
  LedgerSnapshot selection;
  selection.layers.resize(1);
  selection.layers[0].error = 0.75;
  selection.errors.counts[6] = 4;
  selection.errors.recent_median = 0.125;
  const std::string page = Metrics().text({}, &fleet, selection, "topk", &air);
  CAPTURE(page);
  for (const char* line :
       {"wdmoe_link_rate_bytes_per_second{device=\"jetson-1\",direction=\"downlink\",source="
        "\"measured\"} 1000000",
        "wdmoe_link_rate_bytes_per_second{device=\"jetson-1\",direction=\"uplink\",source="
        "\"seen_at_least\"} 500000",
        "wdmoe_link_rtt_seconds{device=\"jetson-1\"} 0.012",
        "wdmoe_link_retransmission_ratio{device=\"jetson-1\",direction=\"downlink\"} 0.25",
        "wdmoe_device_load_rows{device=\"jetson-1\"} 2.5",
        "wdmoe_controller_state{state=\"frozen\"} 1",
        "wdmoe_controller_ticks_total{outcome=\"in_time\"} 9",
        "wdmoe_controller_actions_total{actuator=\"tc\",outcome=\"applied\"} 3",
        "wdmoe_actuator_degraded{actuator=\"tc\"} 1",
        "wdmoe_share_commanded_bytes_per_second{device=\"jetson-1\",direction=\"downlink\"} 200000",
        "wdmoe_share_observed_bytes_per_second{device=\"jetson-1\",direction=\"downlink\",actuator="
        "\"tc\"} 100000",
        "wdmoe_layer_wait_prediction_error_total{layer=\"0\"} 0.75",
        "wdmoe_layer_wait_prediction_error_bucket{le=\"0.15\"} 4",
        "wdmoe_layer_wait_prediction_error_median 0.125"})
    CHECK_MESSAGE(has_line(page, line), line);
}

TEST_CASE("status: one agent's link, share and read-back, and the controller's state") {
  StatusInput input;
  input.model = "demo";
  input.policy = "minmax";
  input.ready = true;
  input.now_s = 100;
  input.fleet = one_agent();
  input.fleet.agents[0].address = "10.0.0.2";
  input.air = air_of_one();
  input.prediction.counts[6] = 4;
  input.prediction.sum = 0.5;
  input.prediction.recent_median = 0.125;
  const auto body = nlohmann::json::parse(status_json(input));
  CHECK(body["ready"] == true);
  CHECK(body["prediction"]["exchanges"] == 4);
  CHECK(body["prediction"]["mean_error"] == 0.125);
  const auto& agent = body["agents"][0];
  CHECK(agent["address"] == "10.0.0.2");
  CHECK(agent["link"]["down"]["rate_bps"] == 8e6);
  CHECK(agent["link"]["down"]["age_s"] == 1);
  CHECK(agent["link"]["up"]["measured"] == false);
  CHECK_FALSE(agent["link"].contains("station"));
  CHECK(agent["commanded"]["down_bps"] == 16e5);
  CHECK(agent["observed"]["tc"]["down_bps"] == 8e5);
  CHECK_FALSE(agent["observed"]["tc"].contains("up_bps"));
  CHECK(body["radio"]["state"] == "frozen");
  CHECK(body["radio"]["actuators"][0]["degraded"] == true);
  CHECK(nlohmann::json::parse(radio_json(input.air)) == body["radio"]);
}

TEST_CASE("status: without a radio, and with agents nobody has heard of") {
  StatusInput input;
  input.fleet = one_agent();
  const auto body = nlohmann::json::parse(status_json(input));
  CHECK(body["radio"]["state"] == "off");
  CHECK(body["agents"][0]["link"].is_null());
  CHECK(body["agents"][0]["commanded"].is_null());
  CHECK(body["prediction"]["recent_median_error"].is_null());
}

TEST_CASE("actuators: what cannot be is refused at the start, by name") {
  const auto refused = [](std::vector<std::string> names, bool local, const char* interface) {
    bsd::Config config;
    config.radio_actuators = std::move(names);
    config.local_experts = local;
    config.radio_interface = interface;
    try {
      check_actuators(config);
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refused({}, false, "") == "");
  CHECK(refused({"dry-run"}, false, "") == "");
  CHECK(refused({"antenna"}, false, "").find("'antenna' is no actuator: expected tc, ") !=
        std::string::npos);
  CHECK(refused({"dry-run", "dry-run"}, false, "").find("twice") != std::string::npos);
  CHECK(refused({"dry-run"}, true, "").find("fleet.local_experts") != std::string::npos);
  CHECK(refused({"tc"}, false, "").find("radio.interface is empty") != std::string::npos);
}
