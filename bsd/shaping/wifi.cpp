#include "bsd/shaping/wifi.h"

#include <charconv>
#include <utility>

#include "bsd/shaping/privileges.h"
#include "bsd/shaping/wifi_weights.h"

namespace wdmoe::shaping {
namespace {

constexpr const char* kActuator = "wifi";
// Keys of the record; a station's weight is under its address.
constexpr const char* kPowerSave = "power_save";
constexpr const char* kLimit = "txq_limit_packets";
constexpr const char* kQuantum = "txq_quantum_bytes";

std::optional<std::uint32_t> number_of(const Record& record, const std::string& key) {
  const auto found = record.before.find(key);
  if (found == record.before.end()) return {};
  const std::string& text = found->second;
  std::uint32_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

/// What was recorded is set again.  Stations that have left are no error: they took it with them.
Result<void> put_back(Nl80211Socket& nl80211, const Interface& interface, std::uint32_t radio,
                      const Record& record) {
  Result<void> out;
  const auto set = [&](MessagePtr message, const std::string& what, bool may_be_gone) {
    Batch batch;
    batch.add(std::move(message), "wifi: " + what + " of " + interface.name);
    auto done = nl80211.transact(batch);
    if (!done && !(may_be_gone && done.error().code == Code::not_found) && out)
      out = std::move(done);
  };
  const TransmitQueues queues{number_of(record, kLimit), number_of(record, kQuantum)};
  if (queues.limit_packets || queues.quantum_bytes)
    set(transmit_queues_message(nl80211.family(), radio, queues), "transmit queues", false);
  if (const auto on = number_of(record, kPowerSave))
    set(power_save_message(nl80211.family(), interface.index, *on != 0), "power save", false);
  for (const auto& each : record.before) {
    const auto station = MacAddress::parse(each.first);
    const auto weight = number_of(record, each.first);
    if (station && weight && *weight >= 1 && *weight <= 65'535)
      set(airtime_weight_message(nl80211.family(), interface.index, *station,
                                 static_cast<std::uint16_t>(*weight)),
          "airtime weight of " + each.first, true);
  }
  return out;
}

/// The caller holds the claim.
Result<std::optional<std::string>> put_back_leftover(Nl80211Socket& nl80211,
                                                     const Interface& interface,
                                                     std::uint32_t radio, const Records& records) {
  const auto record = records.read(kActuator, interface.name);
  if (!record) return tl::unexpected<Error>(record.error());
  if (!*record) return std::optional<std::string>();
  WDMOE_TRY(put_back(nl80211, interface, radio, **record));
  WDMOE_TRY(records.erase(kActuator, interface.name));
  return std::optional<std::string>("interface " + interface.name +
                                    ": its Wi-Fi settings are as they were before wdmoe");
}

}  // namespace

Wifi::Wifi(WifiOptions options, RouteSocket route, Nl80211Socket nl80211, Interface interface,
           WirelessInterface wireless, Claim claim)
    : options_(std::move(options)),
      route_(std::move(route)),
      nl80211_(std::move(nl80211)),
      interface_(std::move(interface)),
      wireless_(wireless),
      records_(options_.state_directory),
      claim_(std::move(claim)) {}

Result<std::unique_ptr<Wifi>> Wifi::open(const WifiOptions& options) {
  auto route = RouteSocket::open();
  if (!route) return tl::unexpected<Error>(route.error());
  auto interface = route->find(options.interface);
  if (!interface) return fail("wifi", interface.error());
  auto nl80211 = Nl80211Socket::open();
  if (!nl80211) return fail("wifi", nl80211.error());
  const auto wireless = nl80211->describe(*interface);
  if (!wireless) return tl::unexpected<Error>(wireless.error());
  if (!wireless->access_point)
    return fail(Code::unsupported, "wifi: " + interface->name +
                                       " is not an access point: only that weighs stations; use "
                                       "tc, uplink or order here");
  WDMOE_TRY(require_network_admin(kActuator, options.interface));
  auto claim = Claim::take(kActuator, interface->name);
  if (!claim) return fail("wifi", claim.error());
  const auto cleaned =
      put_back_leftover(*nl80211, *interface, wireless->radio, Records(options.state_directory));
  if (!cleaned) return fail("wifi", cleaned.error());
  return std::unique_ptr<Wifi>(new Wifi(options, std::move(*route), std::move(*nl80211),
                                        std::move(*interface), *wireless, std::move(*claim)));
}

/// Everything that is set once, before the first weights.
Result<void> Wifi::prepare() {
  const auto facts = nl80211_.facts(wireless_.radio);
  if (!facts) return tl::unexpected<Error>(facts.error());
  const auto power_save = nl80211_.power_save(interface_);
  if (!power_save) return tl::unexpected<Error>(power_save.error());
  weights_ = facts->airtime_fairness;
  Record record{kActuator, interface_.name, {}};
  const bool bound = facts->queues.limit_packets && facts->queues.quantum_bytes &&
                     (options_.queues.limit_packets || options_.queues.quantum_bytes);
  if (bound) {
    record.before[kLimit] = std::to_string(*facts->queues.limit_packets);
    record.before[kQuantum] = std::to_string(*facts->queues.quantum_bytes);
  }
  const bool sleeps = power_save->value_or(false);
  if (sleeps) record.before.emplace(kPowerSave, std::to_string(1));
  WDMOE_TRY(records_.write(record));
  record_ = std::move(record);
  Batch batch;
  if (bound)
    batch.add(transmit_queues_message(nl80211_.family(), wireless_.radio, options_.queues),
              "wifi: transmit queues of " + interface_.name);
  if (sleeps)
    batch.add(power_save_message(nl80211_.family(), interface_.index, false),
              "wifi: power save of " + interface_.name);
  return nl80211_.transact(batch);
}

Result<void> Wifi::apply(const Plan& plan) {
  const auto weights = airtime_weights(plan);
  if (!weights) return tl::unexpected<Error>(weights.error());
  if (!record_) WDMOE_TRY(prepare());
  agents_.clear();
  for (const Share& share : plan.shares)
    agents_[share.slot] = {share.address, weights->at(share.slot), {}};
  const auto neighbours = route_.neighbours(interface_);
  if (!neighbours) return tl::unexpected<Error>(neighbours.error());
  for (auto& [slot, agent] : agents_) {
    const auto link = neighbours->find(agent.address);
    if (link == neighbours->end()) continue;
    if (const auto station = MacAddress::parse(link->second)) agent.station = *station;
  }
  fault_.clear();
  if (!weights_) {
    fault_ = "the driver of " + interface_.name +
             " has no airtime weights (mac80211's airtime fairness); tc and order act without";
    return {};
  }
  return weigh();
}

Result<void> Wifi::weigh() {
  Batch batch;
  std::vector<std::pair<std::string, std::uint16_t>> changed;
  for (const auto& [slot, agent] : agents_) {
    if (!agent.station) {
      fault_ = "the agent at '" + agent.address + "' is no station of " + interface_.name +
               " (not in its neighbour table)";
      continue;
    }
    const std::string key = agent.station->text();
    const auto known = set_.find(key);
    if (known != set_.end() && known->second == agent.weight) continue;
    WDMOE_TRY(remember(*agent.station));
    batch.add(
        airtime_weight_message(nl80211_.family(), interface_.index, *agent.station, agent.weight),
        "wifi: airtime weight of " + key);
    changed.emplace_back(key, agent.weight);
  }
  auto done = nl80211_.transact(batch);
  if (!done && done.error().code == Code::unsupported) {
    // Drivers may advertise what they refuse.
    weights_ = false;
    fault_ = done.error().text;
    return {};
  }
  if (done)
    for (const auto& [key, weight] : changed) set_[key] = weight;
  return done;
}

/// The weight that a station had is written down before the first change.
Result<void> Wifi::remember(const MacAddress& station) {
  if (record_->before.count(station.text()) != 0) return {};
  const auto stations = nl80211_.stations(interface_);
  if (!stations) return tl::unexpected<Error>(stations.error());
  for (const Station& each : *stations)
    if (!record_->before.count(each.address.text()))
      record_->before[each.address.text()] =
          std::to_string(each.airtime_weight.value_or(kDefaultAirtimeWeight));
  record_->before.emplace(station.text(), std::to_string(kDefaultAirtimeWeight));
  return records_.write(*record_);
}

Result<void> Wifi::observe(std::vector<Observed>& out) {
  out.clear();
  if (!record_) return {};
  const auto stations = nl80211_.stations(interface_);
  if (!stations) return tl::unexpected<Error>(stations.error());
  for (const auto& [slot, agent] : agents_) {
    Observed seen;
    seen.slot = slot;
    for (const Station& each : *stations) {
      if (!agent.station || !(each.address == *agent.station)) continue;
      seen.station = each.sample;
      const auto known = set_.find(each.address.text());
      if (known == set_.end() || !each.airtime_weight || *each.airtime_weight == known->second)
        continue;
      fault_ = "the airtime weight of " + known->first + " was changed by somebody else";
      set_.erase(known);  // the next apply() mends it
    }
    out.push_back(seen);
  }
  return {};
}

Health Wifi::health() const {
  return {!fault_.empty(), fault_};
}

Result<void> Wifi::restore() {
  if (!record_) return {};
  const Record record = *std::exchange(record_, std::nullopt);
  agents_.clear();
  set_.clear();
  auto done = put_back(nl80211_, interface_, wireless_.radio, record);
  if (!done && done.error().code != Code::not_found) return done;  // the record stays
  return records_.erase(kActuator, interface_.name);
}

Result<std::optional<std::string>> reset_wifi(const std::string& name, const Records& records) {
  auto route = RouteSocket::open();
  if (!route) return tl::unexpected<Error>(route.error());
  const auto record = records.read(kActuator, name);
  if (!record) return tl::unexpected<Error>(record.error());
  if (!*record) return std::optional<std::string>();
  const auto interface = route->find(name);
  if (!interface && interface.error().code == Code::not_found) {
    WDMOE_TRY(records.erase(kActuator, name));  // its settings went with it
    return std::optional<std::string>();
  }
  if (!interface) return tl::unexpected<Error>(interface.error());
  auto nl80211 = Nl80211Socket::open();
  if (!nl80211) return tl::unexpected<Error>(nl80211.error());
  const auto wireless = nl80211->describe(*interface);
  if (!wireless) return tl::unexpected<Error>(wireless.error());
  const auto claim = Claim::take(kActuator, name);
  if (!claim) return tl::unexpected<Error>(claim.error());
  return put_back_leftover(*nl80211, *interface, wireless->radio, records);
}

}  // namespace wdmoe::shaping
