#include "bsd/metrics.h"

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace wdmoe::bsd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// Seconds.  Decode steps take 1 ms (loopback) to a second (slow air), prompts up to minutes.
const prometheus::Histogram::BucketBoundaries kTokenBuckets{0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                                            0.1,   0.2,   0.5,   1,    2,    5};
const prometheus::Histogram::BucketBoundaries kPromptBuckets{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1,
                                                             2,    5,    10,   30,  60,  120};

/// A family whose samples are snapshots taken when the page is asked for.
class Snapshot {
 public:
  Snapshot(MetricType type, std::string name, std::string help) {
    family_.type = type;
    family_.name = std::move(name);
    family_.help = std::move(help);
  }
  using Labels = std::initializer_list<std::pair<const char*, std::string>>;
  Snapshot& add(double value, Labels labels = {}) {
    ClientMetric sample;
    for (const auto& [name, text] : labels) sample.label.push_back({name, text});
    (family_.type == MetricType::Counter ? sample.counter.value : sample.gauge.value) = value;
    family_.metric.push_back(std::move(sample));
    return *this;
  }
  Snapshot& add(std::uint64_t value, Labels labels = {}) {
    return add(static_cast<double>(value), labels);
  }
  void to(std::vector<MetricFamily>& families) { families.push_back(std::move(family_)); }

 private:
  MetricFamily family_;
};

Snapshot counter(std::string name, std::string help) {
  return {MetricType::Counter, std::move(name), std::move(help)};
}
Snapshot gauge(std::string name, std::string help) {
  return {MetricType::Gauge, std::move(name), std::move(help)};
}

void add_engine(const EngineStats& engine, std::vector<MetricFamily>& families) {
  gauge("wdmoe_build_info", "Version of this base station.")
      .add(1.0, {{"version", WDMOE_VERSION}})
      .to(families);
  gauge("wdmoe_sequences_running", "Sequences in the batch.")
      .add(std::uint64_t{engine.running})
      .to(families);
  gauge("wdmoe_sequences_waiting", "Requests that wait for a place.")
      .add(std::uint64_t{engine.waiting})
      .to(families);
  gauge("wdmoe_kv_cache_pages", "Pages of the key-value cache.")
      .add(std::uint64_t{engine.kv_pages_free}, {{"state", "free"}})
      .add(std::uint64_t{engine.kv_pages_total - engine.kv_pages_free}, {{"state", "used"}})
      .to(families);
  counter("wdmoe_steps_total", "Forward passes.")
      .add(engine.steps, {{"outcome", "ok"}})
      .add(engine.failed_steps, {{"outcome", "failed"}})
      .to(families);
  counter("wdmoe_tokens_total", "Tokens processed.")
      .add(engine.prompt_tokens, {{"kind", "prompt"}})
      .add(engine.generated_tokens, {{"kind", "completion"}})
      .to(families);
  counter("wdmoe_sequences_ended_total", "Sequences, by how they ended.")
      .add(engine.stopped, {{"reason", "stop"}})
      .add(engine.full, {{"reason", "length"}})
      .add(engine.cancelled, {{"reason", "cancelled"}})
      .add(engine.failed, {{"reason", "error"}})
      .to(families);
  const StepCosts& costs = engine.costs;
  counter("wdmoe_stage_seconds_total",
          "Time of all forward passes by stage; wire_wait is the attention waiting latency.")
      .add(in_seconds(costs.attention), {{"stage", "attention"}})
      .add(in_seconds(costs.gate), {{"stage", "gate"}})
      .add(in_seconds(costs.selection), {{"stage", "selection"}})
      .add(in_seconds(costs.serialise), {{"stage", "serialise"}})
      .add(in_seconds(costs.wire_wait), {{"stage", "wire_wait"}})
      .add(in_seconds(costs.combine), {{"stage", "combine"}})
      .add(in_seconds(costs.head), {{"stage", "head"}})
      .to(families);
  counter("wdmoe_round_trips_total",
          "Exchanges with at least one device; a large batch makes two a layer.")
      .add(costs.round_trips)
      .to(families);
}

void add_fleet(const FleetSnapshot& fleet, std::vector<MetricFamily>& families) {
  auto up = gauge("wdmoe_device_up", "1 while the agent is connected and welcome.");
  auto temperature =
      gauge("wdmoe_device_temperature_celsius", "Last reported; absent where nothing measures it.");
  auto power =
      gauge("wdmoe_device_power_watts", "Last reported; absent where nothing measures it.");
  auto rows = counter("wdmoe_expert_rows_total", "Token rows computed by the agent.");
  auto bytes = counter("wdmoe_wire_bytes_total", "Message payload to and from the agent.");
  auto time = counter("wdmoe_dispatch_seconds_total",
                      "Time of answered Dispatches: queue and compute on the agent's clock, "
                      "round_trip on ours.");
  auto dispatches = counter("wdmoe_dispatches_total", "Dispatches, by outcome.");
  for (const AgentSnapshot& agent : fleet.agents) {
    const std::string& name = agent.name;
    up.add(agent.up ? 1.0 : 0.0, {{"device", name}});
    if (agent.health.temperature_celsius != 0)
      temperature.add(double{agent.health.temperature_celsius}, {{"device", name}});
    if (agent.health.power_watts != 0)
      power.add(double{agent.health.power_watts}, {{"device", name}});
    rows.add(agent.rows, {{"device", name}});
    bytes.add(agent.bytes_sent, {{"device", name}, {"direction", "downlink"}})
        .add(agent.bytes_received, {{"device", name}, {"direction", "uplink"}});
    time.add(in_seconds(agent.queue), {{"device", name}, {"stage", "queue"}})
        .add(in_seconds(agent.compute), {{"device", name}, {"stage", "compute"}})
        .add(in_seconds(agent.round_trip), {{"device", name}, {"stage", "round_trip"}});
    dispatches.add(agent.dispatches, {{"device", name}, {"outcome", "answered"}})
        .add(agent.failures, {{"device", name}, {"outcome", "failed"}})
        .add(agent.late, {{"device", name}, {"outcome", "late"}});
  }
  for (Snapshot* family : {&up, &temperature, &power, &rows, &bytes, &time, &dispatches})
    family->to(families);
  counter("wdmoe_frames_refused_total", "Frames that were malformed or beyond the limits.")
      .add(fleet.frames_refused)
      .to(families);
  counter("wdmoe_hellos_refused_total", "Agents that were turned away.")
      .add(fleet.hellos_refused)
      .to(families);
}

void add_layers(const std::vector<LayerCounts>& layers, std::vector<MetricFamily>& families) {
  auto rows = counter("wdmoe_gate_rows_total", "Decisions: a token's row in a layer.");
  auto kept = counter("wdmoe_kept_gate_mass_total",
                      "Share of the gate's top-k mass that was kept, summed over decisions.");
  auto drops = counter("wdmoe_experts_dropped_total",
                       "Experts of the gate's top-k that were left out without a substitute.");
  auto substitutes = counter("wdmoe_experts_substituted_total",
                             "Experts that took the place of one of the gate's top-k.");
  auto waits = counter("wdmoe_layer_waits_total",
                       "Exchanges of steps that succeeded, by whether their waiting latency had "
                       "been predicted and no other exchange was in the way.");
  auto wait = counter("wdmoe_layer_wait_seconds_total",
                      "Attention waiting latency. predicted and measured_of_predicted: from the "
                      "first row sent to the last answer, of exchanges that no other was in the "
                      "way of; measured: time of all exchanges that overlapped no other work.");
  auto error = counter("wdmoe_layer_wait_prediction_error_total",
                       "Sum of |predicted - measured| / measured over the exchanges counted by "
                       "wdmoe_layer_waits_total{predicted=\"yes\"}.");
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    const LayerCounts& counts = layers[layer];
    const std::string name = std::to_string(layer);
    rows.add(counts.tally.rows, {{"layer", name}});
    kept.add(counts.tally.kept, {{"layer", name}});
    drops.add(counts.tally.drops, {{"layer", name}, {"reason", "policy"}});
    substitutes.add(counts.tally.substitutions, {{"layer", name}});
    waits.add(counts.predicted_waits, {{"layer", name}, {"predicted", "yes"}})
        .add(counts.waits - counts.predicted_waits, {{"layer", name}, {"predicted", "no"}});
    wait.add(counts.predicted_s, {{"layer", name}, {"kind", "predicted"}})
        .add(counts.response_s, {{"layer", name}, {"kind", "measured_of_predicted"}})
        .add(counts.blocked_s, {{"layer", name}, {"kind", "measured"}});
    error.add(counts.error, {{"layer", name}});
  }
  for (Snapshot* family : {&rows, &kept, &drops, &substitutes, &waits, &wait, &error})
    family->to(families);
}

/// `counted`: kBounds, counts, sum.
template <class Counted>
MetricFamily histogram(std::string name, std::string help, const Counted& counted) {
  ClientMetric sample;
  std::uint64_t count = 0;
  for (std::size_t bucket = 0; bucket < counted.counts.size(); ++bucket) {
    count += counted.counts[bucket];
    const double bound = bucket < Counted::kBounds.size() ? Counted::kBounds[bucket]
                                                          : std::numeric_limits<double>::infinity();
    sample.histogram.bucket.push_back({count, bound});
  }
  sample.histogram.sample_count = count;
  sample.histogram.sample_sum = counted.sum;
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = MetricType::Histogram;
  family.metric.push_back(std::move(sample));
  return family;
}

void add_predictions(const LedgerSnapshot& selection, std::vector<MetricFamily>& families) {
  families.push_back(histogram(
      "wdmoe_layer_wait_prediction_ratio",
      "Predicted over measured waiting latency of exchanges that no other was in the way of; "
      "1 is a perfect prediction.",
      selection.ratios));
  families.push_back(histogram("wdmoe_layer_wait_prediction_error",
                               "|predicted - measured| / measured of the same exchanges.",
                               selection.errors));
  if (selection.errors.recent_median >= 0)
    gauge("wdmoe_layer_wait_prediction_error_median", "Of the last 256 of them.")
        .add(selection.errors.recent_median)
        .to(families);
}

void add_links(const FleetSnapshot& fleet, const std::vector<radio::LinkState>& links,
               std::vector<MetricFamily>& families) {
  auto rate = gauge("wdmoe_link_rate_bytes_per_second",
                    "Payload that the agent's link is estimated to carry; source: measured, or "
                    "seen_at_least where nothing showed more.");
  auto rtt = gauge("wdmoe_link_rtt_seconds", "Least recent round trip of the agent's link.");
  auto queueing = gauge("wdmoe_link_queueing_seconds", "Round trip beyond that now.");
  auto retransmission =
      gauge("wdmoe_link_retransmission_ratio", "Share of recent TCP segments sent again.");
  auto compute = gauge("wdmoe_device_compute_seconds_per_row", "Estimated, on the agent's clock.");
  auto load = gauge("wdmoe_device_load_rows", "Rows asked per exchange of a layer lately.");
  for (std::size_t slot = 0; slot < std::min(fleet.agents.size(), links.size()); ++slot) {
    const std::string& name = fleet.agents[slot].name;
    const radio::LinkState& link = links[slot];
    if (!link.known) continue;
    const std::pair<const char*, const radio::DirectionState*> directions[] = {
        {"downlink", &link.down}, {"uplink", &link.up}};
    for (const auto& [direction, state] : directions) {
      if (state->rate_bps > 0)
        rate.add(state->rate_bps / 8, {{"device", name},
                                       {"direction", direction},
                                       {"source", state->measured ? "measured" : "seen_at_least"}});
      retransmission.add(state->retransmission, {{"device", name}, {"direction", direction}});
    }
    rtt.add(link.base_rtt_s, {{"device", name}});
    queueing.add(link.queueing_s, {{"device", name}});
    compute.add(link.compute.per_row_s, {{"device", name}});
    load.add(link.rows, {{"device", name}});
  }
  for (Snapshot* family : {&rate, &rtt, &queueing, &retransmission, &compute, &load})
    family->to(families);
}

void add_shaper(const shaping::ShaperReport& shaper, std::vector<MetricFamily>& families) {
  auto state = gauge("wdmoe_controller_state", "1 for the state that the controller is in.");
  for (const auto one :
       {shaping::ShaperState::running, shaping::ShaperState::frozen, shaping::ShaperState::safe})
    state.add(one == shaper.state ? 1.0 : 0.0, {{"state", std::string(name_of(one))}});
  state.to(families);
  counter("wdmoe_controller_ticks_total", "Decisions, by whether the tick came in time.")
      .add(shaper.ticks - shaper.late_ticks, {{"outcome", "in_time"}})
      .add(shaper.late_ticks, {{"outcome", "late"}})
      .to(families);
  counter("wdmoe_controller_changes_total", "Plans handed to the actuators.")
      .add(shaper.changes)
      .to(families);
  counter("wdmoe_controller_rescues_total", "Times that the queues were let go.")
      .add(shaper.rescues)
      .to(families);
  auto actions = counter("wdmoe_controller_actions_total", "Plans, by what the actuator said.");
  auto degraded = gauge("wdmoe_actuator_degraded", "1 while it has no effect.");
  auto commanded = gauge("wdmoe_share_commanded_bytes_per_second", "Payload granted to the agent.");
  auto observed = gauge("wdmoe_share_observed_bytes_per_second", "The same, read back.");
  for (const shaping::Share& share : shaper.plan.shares)
    commanded.add(share.down_bps / 8, {{"device", share.agent}, {"direction", "downlink"}})
        .add(share.up_bps / 8, {{"device", share.agent}, {"direction", "uplink"}});
  for (const shaping::ActuatorReport& actuator : shaper.actuators) {
    actions.add(actuator.applied, {{"actuator", actuator.name}, {"outcome", "applied"}})
        .add(actuator.failed, {{"actuator", actuator.name}, {"outcome", "failed"}});
    degraded.add(actuator.health.degraded ? 1.0 : 0.0, {{"actuator", actuator.name}});
    for (const shaping::Observed& one : actuator.observed) {
      const shaping::Share* share = shaping::find_slot(shaper.plan.shares, one.slot);
      if (share == nullptr) continue;
      const auto add = [&](const std::optional<double>& bps, const char* direction) {
        if (bps)
          observed.add(
              *bps / 8,
              {{"device", share->agent}, {"direction", direction}, {"actuator", actuator.name}});
      };
      add(one.down_bps, "downlink");
      add(one.up_bps, "uplink");
    }
  }
  for (Snapshot* family : {&actions, &degraded, &commanded, &observed}) family->to(families);
}

}  // namespace

struct Metrics::Instruments {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests =
      prometheus::BuildCounter()
          .Name("wdmoe_requests_total")
          .Help("Completion requests by HTTP status; 499: the client went away.")
          .Register(registry);
  prometheus::Histogram& first_token = prometheus::BuildHistogram()
                                           .Name("wdmoe_time_to_first_token_seconds")
                                           .Help("From accepting a request to its first token.")
                                           .Register(registry)
                                           .Add({}, kPromptBuckets);
  prometheus::Histogram& inter_token = prometheus::BuildHistogram()
                                           .Name("wdmoe_inter_token_seconds")
                                           .Help("Between two tokens of one sequence.")
                                           .Register(registry)
                                           .Add({}, kTokenBuckets);
};

Metrics::Metrics() : instruments_(std::make_unique<Instruments>()) {}
Metrics::~Metrics() = default;

void Metrics::count_request(unsigned http_status) {
  instruments_->requests.Add({{"code", std::to_string(http_status)}}).Increment();
}
void Metrics::observe_first_token(double s) {
  instruments_->first_token.Observe(s);
}
void Metrics::observe_inter_token(double s) {
  instruments_->inter_token.Observe(s);
}

std::string Metrics::text(const EngineStats& engine, const FleetSnapshot* fleet,
                          const LedgerSnapshot& selection, const std::string& policy,
                          const AirReport* air) const {
  auto families = instruments_->registry.Collect();
  add_engine(engine, families);
  gauge("wdmoe_selection_policy_info", "The policy in force; requests may ask for another.")
      .add(1.0, {{"policy", policy}})
      .to(families);
  add_layers(selection.layers, families);
  add_predictions(selection, families);
  if (fleet != nullptr) add_fleet(*fleet, families);
  if (fleet != nullptr && air != nullptr) add_links(*fleet, air->links, families);
  if (air != nullptr && air->shaper) add_shaper(*air->shaper, families);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace wdmoe::bsd
