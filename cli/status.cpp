// `wdmoe status`: a running base station on one screen: its agents, what their links carry, what
// they were granted, and what the controller of the radio does.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/base_station.h"
#include "cli/command.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;

constexpr const char* kPath = "/wdmoe/v1/status";

struct StatusOptions {
  BaseStation bsd;
  std::string output = "table";
};

/// "12.3" Mbit/s; "-" where it is not known.
std::string megabits(const json& bps) {
  return bps.is_number() ? fmt::format("{:.1f}", bps.get<double>() / 1e6) : "-";
}

std::string milliseconds_of(const json& seconds) {
  return seconds.is_number() ? fmt::format("{:.1f}", seconds.get<double>() * 1e3) : "-";
}

/// A rate with ">" where it is only what the link was seen to carry at least.
std::string rate(const json& direction) {
  const std::string shown = megabits(direction.at("rate_bps"));
  return shown == "-" || direction.at("measured").get<bool>() ? shown : ">" + shown;
}

/// Granted, in Mbit/s; "free" where nothing limits.
std::string granted(const json& share, const char* key) {
  if (!share.is_object()) return "-";
  constexpr double kFree = 1e9;  // beyond any radio: the controller's word for no limit
  return share.at(key).get<double>() > kFree ? "free" : megabits(share.at(key));
}

std::vector<std::string> agent_row(const json& agent) {
  std::vector<std::string> row{agent.at("name").get<std::string>(),
                               agent.at("up").get<bool>() ? "up" : "DOWN",
                               agent.at("address").get<std::string>()};
  if (row.back().empty()) row.back() = "-";
  const json& link = agent.at("link");
  if (link.is_null()) {
    row.insert(row.end(), 7, "-");
  } else {
    const double loss = std::max(link.at("down").at("retransmission").get<double>(),
                                 link.at("up").at("retransmission").get<double>());
    row.insert(row.end(),
               {rate(link.at("down")), rate(link.at("up")), milliseconds_of(link.at("base_rtt_s")),
                milliseconds_of(link.at("queueing_s")), fmt::format("{:.1f}", loss * 100),
                milliseconds_of(link.at("compute_s_per_row")),
                fmt::format("{:.1f}", link.at("load_rows").get<double>())});
  }
  const json& share = agent.at("commanded");
  row.push_back(granted(share, "down_bps"));
  row.push_back(granted(share, "up_bps"));
  std::string observed;
  for (const auto& [actuator, seen] : agent.at("observed").items()) {
    observed += observed.empty() ? "" : " ";
    observed += fmt::format("{}:{}/{}", actuator, megabits(seen.value("down_bps", json())),
                            megabits(seen.value("up_bps", json())));
  }
  row.push_back(observed.empty() ? "-" : observed);
  return row;
}

/// Columns as wide as their widest cell; the first three to the left, numbers to the right.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows)
    for (std::size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], row[column].size());
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      const bool left = column < 3 || column + 1 == row.size();
      line += left ? fmt::format("{:<{}}  ", row[column], widths[column])
                   : fmt::format("{:>{}}  ", row[column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string radio_lines(const json& radio) {
  const auto state = radio.at("state").get<std::string>();
  if (state == "off") return "radio: measured only (radio.actuators is empty)\n";
  std::string text = fmt::format(
      "radio: {}; last tick: {}; {} changes in {} ticks, {} late, let go {} times\n", state,
      radio.at("reason").get<std::string>(), radio.at("changes").get<std::uint64_t>(),
      radio.at("ticks").get<std::uint64_t>(), radio.at("late_ticks").get<std::uint64_t>(),
      radio.at("rescues").get<std::uint64_t>());
  if (const auto error = radio.at("error").get<std::string>(); !error.empty())
    text += "  error: " + error + "\n";
  for (const json& actuator : radio.at("actuators")) {
    const bool degraded = actuator.at("degraded").get<bool>();
    text +=
        fmt::format("  {}: {}, applied {}, refused {}{}\n", actuator.at("name").get<std::string>(),
                    degraded ? "DEGRADED" : "ok", actuator.at("applied").get<std::uint64_t>(),
                    actuator.at("failed").get<std::uint64_t>(),
                    degraded ? ": " + actuator.at("reason").get<std::string>() : "");
  }
  return text;
}

std::string table_of(const json& status) {
  std::string text = fmt::format("{}, policy {}, {}\n", status.at("model").get<std::string>(),
                                 status.at("policy").get<std::string>(),
                                 status.at("ready").get<bool>() ? "ready" : "NOT READY");
  if (const auto missing = status.at("missing").get<std::string>();
      !status.at("ready").get<bool>() && !missing.empty())
    text += "  " + missing + "\n";
  const json& engine = status.at("engine");
  text += fmt::format("sequences: {} running, {} waiting; {} tokens made\n",
                      engine.at("running").get<std::uint64_t>(),
                      engine.at("waiting").get<std::uint64_t>(),
                      engine.at("generated_tokens").get<std::uint64_t>());
  if (const json& error = status.at("prediction").at("recent_median_error"); error.is_number())
    text += fmt::format("waiting latency: predicted within {:.0f} % (median of recent exchanges)\n",
                        error.get<double>() * 100);
  text += radio_lines(status.at("radio"));
  if (status.at("agents").empty()) return text;
  std::vector<std::vector<std::string>> rows{
      {"agent", "", "address", "down", "up", "rtt", "queue", "lost", "row", "load", "share down",
       "share up", "observed"},
      {"", "", "", "Mbit/s", "Mbit/s", "ms", "ms", "%", "ms", "rows", "Mbit/s", "Mbit/s",
       "down/up Mbit/s"}};
  for (const json& agent : status.at("agents")) rows.push_back(agent_row(agent));
  return text + "\n" + aligned(rows);
}

Result<int> run_status(const StatusOptions& options) {
  auto client = options.bsd.client();
  if (!client) return tl::unexpected<Error>(client.error());
  return print_answer(client->get(kPath), kPath, options.output == "json", table_of);
}

}  // namespace

void add_status(Commands& commands) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App& command =
      commands.add("status", "Show a running base station: agents, links, shares, the radio",
                   [options] { return run_status(*options); });
  options->bsd.add_to(command, "base station");
  command.add_option("-o,--output", options->output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  command.footer(
      "down, up: what the link carries, \">\" at least; row: computing one; docs/radio.md\n"
      "example: wdmoe status --bsd http://127.0.0.1:8080");
}

}  // namespace wdmoe::cli
