#include "bsd/status.h"

#include <algorithm>
#include <numeric>

#include <nlohmann/json.hpp>

namespace wdmoe::bsd {
namespace {

using json = nlohmann::ordered_json;

json or_null(double value, bool known) {
  return known ? json(value) : json();
}

std::string text_of(const json& body) {
  // What is no UTF-8 in an agent's words becomes U+FFFD: a report never fails.
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

json direction_json(const radio::DirectionState& direction, double now_s) {
  const bool known = direction.rate_bps > 0;
  return {{"rate_bps", or_null(direction.rate_bps, known)},
          {"measured", direction.measured},
          {"age_s", or_null(std::max(0.0, now_s - direction.updated_s), known)},
          {"retransmission", direction.retransmission}};
}

json station_json(const radio::StationSample& station) {
  return {{"signal_dbm", station.signal_dbm},
          {"tx_bps", station.tx_bps},
          {"rx_bps", station.rx_bps},
          {"expected_bps", station.expected_bps},
          {"airtime_tx_s", station.airtime_tx_s},
          {"airtime_rx_s", station.airtime_rx_s},
          {"retries", station.retries},
          {"failed", station.failed},
          {"inactive_s", station.inactive_s},
          {"airtime_weight", station.airtime_weight}};
}

json link_json(const radio::LinkState& link, double now_s) {
  json body{{"down", direction_json(link.down, now_s)},
            {"up", direction_json(link.up, now_s)},
            {"base_rtt_s", link.base_rtt_s},
            {"queueing_s", link.queueing_s},
            {"link_fixed_s", link.link.fixed_s},
            {"link_s_per_row", link.link.per_row_s},
            {"agent_queue_s", link.agent_queue_s},
            {"compute_fixed_s", link.compute.fixed_s},
            {"compute_s_per_row", link.compute.per_row_s},
            {"compute_spread_s", link.compute_spread_s},
            {"load_rows", link.rows},
            {"backlog_bytes", link.backlog_bytes}};
  if (link.station.at_s > 0) body["station"] = station_json(link.station);
  return body;
}

json share_json(const shaping::Share& share) {
  return {{"down_bps", share.down_bps},
          {"up_bps", share.up_bps},
          {"down_ceiling_bps", share.down_ceiling_bps},
          {"up_ceiling_bps", share.up_ceiling_bps},
          {"airtime", share.airtime}};
}

json observed_json(const shaping::Observed& observed) {
  json body = json::object();
  const auto add = [&body](const char* key, const auto& value) {
    if (value) body[key] = *value;
  };
  add("down_bps", observed.down_bps);
  add("up_bps", observed.up_bps);
  add("down_bytes", observed.down_bytes);
  add("up_bytes", observed.up_bytes);
  add("backlog_bytes", observed.backlog_bytes);
  return body;
}

json agent_json(const StatusInput& status, std::size_t slot) {
  const AgentSnapshot& agent = status.fleet.agents[slot];
  json body{{"name", agent.name},
            {"up", agent.up},
            {"address", agent.address},
            {"experts", agent.experts},
            {"rows", agent.rows},
            {"failures", agent.failures},
            {"bytes_sent", agent.bytes_sent},
            {"bytes_received", agent.bytes_received}};
  const bool known = slot < status.air.links.size() && status.air.links[slot].known;
  body["link"] = known ? link_json(status.air.links[slot], status.now_s) : json();
  body["commanded"] = json();
  body["observed"] = json::object();
  if (!status.air.shaper) return body;
  if (const auto* share = shaping::find_slot(status.air.shaper->plan.shares, slot))
    body["commanded"] = share_json(*share);
  for (const shaping::ActuatorReport& actuator : status.air.shaper->actuators)
    if (const auto* observed = shaping::find_slot(actuator.observed, slot))
      body["observed"][actuator.name] = observed_json(*observed);
  return body;
}

json radio_body(const AirReport& air) {
  if (!air.shaper) return {{"state", "off"}, {"actuators", json::array()}};
  const shaping::ShaperReport& shaper = *air.shaper;
  auto actuators = json::array();
  for (const shaping::ActuatorReport& actuator : shaper.actuators)
    actuators.push_back({{"name", actuator.name},
                         {"degraded", actuator.health.degraded},
                         {"reason", actuator.health.reason},
                         {"applied", actuator.applied},
                         {"failed", actuator.failed}});
  return {{"state", std::string(name_of(shaper.state))},
          {"actuators", std::move(actuators)},
          {"plan", shaper.plan.number},
          {"down_bps", shaper.plan.down_bps},
          {"up_bps", shaper.plan.up_bps},
          {"ticks", shaper.ticks},
          {"late_ticks", shaper.late_ticks},
          {"changes", shaper.changes},
          {"rescues", shaper.rescues},
          {"reason", std::string(name_of(shaper.last.reason))},
          {"error", shaper.last.error},
          {"change", shaper.last.change},
          {"predicted_wait_s", shaper.last.predicted_wait_s}};
}

}  // namespace

std::string radio_json(const AirReport& air) {
  return text_of(radio_body(air));
}

std::string status_json(const StatusInput& status) {
  auto agents = json::array();
  for (std::size_t slot = 0; slot < status.fleet.agents.size(); ++slot)
    agents.push_back(agent_json(status, slot));
  const auto& counts = status.prediction.counts;
  const auto exchanges = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  const double mean = exchanges > 0 ? status.prediction.sum / static_cast<double>(exchanges) : 0;
  return text_of({{"version", WDMOE_VERSION},
                  {"model", status.model},
                  {"policy", status.policy},
                  {"ready", status.ready},
                  {"missing", status.fleet.missing},
                  {"engine",
                   {{"running", status.engine.running},
                    {"waiting", status.engine.waiting},
                    {"generated_tokens", status.engine.generated_tokens}}},
                  {"prediction",
                   {{"exchanges", exchanges},
                    {"recent_median_error", or_null(status.prediction.recent_median,
                                                    status.prediction.recent_median >= 0)},
                    {"mean_error", or_null(mean, exchanges > 0)}}},
                  {"radio", radio_body(status.air)},
                  {"agents", std::move(agents)}});
}

}  // namespace wdmoe::bsd
