#include "sim/airlink/report.h"

#include <nlohmann/json.hpp>

#include "sim/airlink/channel.h"
#include "sim/airlink/namespaces.h"
#include "sim/airlink/tun.h"

namespace wdmoe::airlink {
namespace {

using Json = nlohmann::ordered_json;

double in_ms(Nanoseconds duration) {
  return 1e3 * in_seconds(duration);
}

Json distribution(const Histogram& values) {
  return {{"mean", in_ms(values.mean())},
          {"p50", in_ms(values.quantile(0.5))},
          {"p95", in_ms(values.quantile(0.95))},
          {"p99", in_ms(values.quantile(0.99))},
          {"most", in_ms(values.most())}};
}

Json flow_json(const FlowCounts& counts, Nanoseconds duration) {
  const double seconds = in_seconds(duration);
  return {
      {"packets_offered", counts.packets_offered},
      {"bytes_offered", counts.bytes_offered},
      {"packets_delivered", counts.packets_delivered},
      {"bytes_delivered", counts.bytes_delivered},
      {"dropped", counts.dropped},
      {"lost", counts.lost},
      {"mean_mbit", seconds > 0 ? 8e-6 * static_cast<double>(counts.bytes_delivered) / seconds : 0},
      {"airtime_share", seconds > 0 ? counts.airtime_s / seconds : 0},
      {"delay_ms", distribution(counts.delay)}};
}

Json series_json(const Record::Series& series) {
  return {{"link_mbit", series.rate_mbit}, {"bytes", series.bytes}};
}

Json end_json(const std::string& name, const std::string& address, const std::string& space) {
  return {{"name", name}, {"address", address}, {"namespace", space}, {"interface", kInterface}};
}

}  // namespace

std::string layout_of(const Scenario& scenario) {
  Json devices = Json::array();
  for (std::size_t device = 0; device < scenario.devices.size(); ++device)
    devices.push_back(end_json(scenario.devices[device].place.name, scenario.address_of(device),
                               scenario.namespace_of(device)));
  return Json{{"base_station",
               end_json(std::string(kBaseStation), scenario.address, scenario.bs_namespace())},
              {"devices", devices}}
      .dump();
}

std::string report_of(const Scenario& scenario, const Air& air, const Record& record,
                      const Usage& usage) {
  Json devices = Json::array();
  for (std::size_t device = 0; device < scenario.devices.size(); ++device) {
    const std::size_t down = down_flow(device), up = up_flow(device);
    devices.push_back({{"name", scenario.devices[device].place.name},
                       {"address", scenario.address_of(device)},
                       {"down", flow_json(air.counts(down), record.duration)},
                       {"up", flow_json(air.counts(up), record.duration)},
                       {"down_series", series_json(record.flows[down])},
                       {"up_series", series_json(record.flows[up])}});
  }
  const Json report = {{"scenario", scenario.name},
                       {"seed", scenario.seed},
                       {"medium", scenario.cell.medium},
                       {"version", WDMOE_VERSION},
                       {"start_monotonic_s", in_seconds(record.start)},
                       {"duration_s", in_seconds(record.duration)},
                       {"scenario_start_s", in_seconds(record.scenario_start)},
                       {"interval_s", in_seconds(Record::kInterval)},
                       {"real_time", usage.real_time},
                       {"cpu_s", usage.cpu_s},
                       {"lateness_ms", distribution(record.lateness)},
                       {"strangers", record.strangers},
                       {"refused", record.refused},
                       {"devices", devices}};
  return report.dump(1) + "\n";
}

}  // namespace wdmoe::airlink
