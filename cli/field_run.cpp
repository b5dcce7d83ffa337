#include "cli/field_run.h"

#include <charconv>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "weights/file.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;

double number_or_nan(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>()
                                                     : std::numeric_limits<double>::quiet_NaN();
}

std::string text_or_empty(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const json& object_or_none(const json& object, const char* key) {
  static const json kNone = json::object();
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : kNone;
}

FieldAgent agent_from(const json& in) {
  FieldAgent agent;
  const json& link = object_or_none(in, "link");
  const json& share = object_or_none(in, "commanded");
  agent.name = text_or_empty(in, "name");
  agent.up = in.value("up", false);
  agent.down_bps = number_or_nan(object_or_none(link, "down"), "rate_bps");
  agent.up_bps = number_or_nan(object_or_none(link, "up"), "rate_bps");
  agent.rtt_s = number_or_nan(link, "base_rtt_s");
  agent.queueing_s = number_or_nan(link, "queueing_s");
  agent.share_down_bps = number_or_nan(share, "down_bps");
  agent.share_up_bps = number_or_nan(share, "up_bps");
  agent.bytes_sent = number_or_nan(in, "bytes_sent");
  agent.bytes_received = number_or_nan(in, "bytes_received");
  agent.rows = number_or_nan(in, "rows");
  agent.failures = number_or_nan(in, "failures");
  return agent;
}

FieldPoint point_from(const json& in) {
  FieldPoint point;
  const json& status = object_or_none(in, "status");
  point.t = number_or_nan(in, "t");
  point.policy = text_or_empty(status, "policy");
  point.radio_state = text_or_empty(object_or_none(status, "radio"), "state");
  point.plan = number_or_nan(object_or_none(status, "radio"), "plan");
  point.tokens = number_or_nan(object_or_none(status, "engine"), "generated_tokens");
  if (const auto agents = status.find("agents"); agents != status.end() && agents->is_array())
    for (const json& agent : *agents)
      if (agent.is_object()) point.agents.push_back(agent_from(agent));
  for (const auto& [name, value] : object_or_none(in, "metrics").items())
    if (value.is_number()) point.metrics[name] = value.get<double>();
  return point;
}

void read_header(const json& in, FieldRun& run) {
  run.software = text_or_empty(in, "software");
  run.station = text_or_empty(in, "station");
  run.started = text_or_empty(in, "started");
  run.config = text_or_empty(in, "config");
  if (const auto labels = in.find("labels"); labels != in.end() && labels->is_array())
    for (const json& label : *labels)
      if (label.is_string()) run.labels.push_back(label.get<std::string>());
}

/// False: not a line of ours.
bool take(const json& line, FieldRun& run) {
  const std::string record = line.is_object() ? text_or_empty(line, "record") : std::string();
  if (record == "sample" && std::isfinite(number_or_nan(line, "t"))) {
    run.points.push_back(point_from(line));
  } else if (record == "note" && std::isfinite(number_or_nan(line, "t"))) {
    run.notes.emplace_back(number_or_nan(line, "t"), text_or_empty(line, "text"));
  } else if (record == "end") {
    run.end_reason = text_or_empty(line, "reason");
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::map<std::string, double> metrics_of(std::string_view text) {
  std::map<std::string, double> metrics;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, space);
    if (name.find("_bucket") != std::string_view::npos) continue;
    double value = 0;
    const auto parsed = std::from_chars(line.data() + space + 1, line.data() + line.size(), value);
    if (parsed.ec == std::errc() && std::isfinite(value)) metrics.emplace(name, value);
  }
  return metrics;
}

Result<FieldRun> read_field(const std::filesystem::path& file) {
  const auto whole = weights::read_text(file, kMostFieldBytes);
  if (!whole) return tl::unexpected<Error>(whole.error());
  FieldRun run;
  run.file = file.filename().string();
  std::string_view rest = *whole;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const json parsed = json::parse(line, nullptr, false);
    if (number == 1) {
      if (!parsed.is_object() || text_or_empty(parsed, "format") != kFieldFormat)
        return fail(Code::bad_input, file.string() + ": no recording of wdmoe field record: its " +
                                         "first line lacks \"format\":\"" + kFieldFormat + "\"");
      read_header(parsed, run);
    } else if (!take(parsed, run) && !rest.empty()) {
      return fail(Code::bad_input, file.string() + " line " + std::to_string(number) +
                                       ": expected a record (sample, note or end) in JSON");
    }
  }
  if (run.points.size() < 2)
    return fail(Code::bad_input, file.string() + ": " + std::to_string(run.points.size()) +
                                     " samples; a report needs two at least");
  return run;
}

}  // namespace wdmoe::cli
