// `wdmoe radio`: what this machine can do about its radio, and undoing it.

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bsd/shaping/ownership.h"
#include "bsd/shaping/probe.h"
#include "bsd/shaping/route.h"
#include "bsd/shaping/tc.h"
#include "bsd/shaping/wifi.h"
#include "cli/radio_commands.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;

struct Check {
  std::optional<std::string> interface;
  std::string output = "table";
};

json json_of(const shaping::Verdict& verdict) {
  json rows = json::array();
  for (const auto& each : verdict.capabilities)
    rows.push_back({{"name", each.name},
                    {"available", each.available ? json(*each.available) : json()},
                    {"detail", each.detail},
                    {"instead", each.instead}});
  return {{"capabilities", std::move(rows)}, {"actuators", verdict.actuators}};
}

std::string table_of(const shaping::Verdict& verdict) {
  std::string table;
  for (const auto& each : verdict.capabilities) {
    const char* mark = !each.available ? "?" : *each.available ? "yes" : "no";
    table += fmt::format("{:<20} {:<4} {}\n", each.name, mark, each.detail);
    if (!each.instead.empty()) table += fmt::format("{:<25} used instead: {}\n", "", each.instead);
  }
  std::string actuators;
  for (const std::string& each : verdict.actuators)
    actuators += (actuators.empty() ? "" : ", ") + each;
  return table + "actuators that can work here: " + actuators + "\n";
}

Result<int> check(const Check& options) {
  const auto findings = shaping::probe(options.interface);
  if (!findings) return tl::unexpected<Error>(findings.error());
  const shaping::Verdict verdict = shaping::verdict_of(*findings);
  std::fputs(
      (options.output == "json" ? json_of(verdict).dump(2) + "\n" : table_of(verdict)).c_str(),
      stdout);
  return 0;
}

struct Reset {
  std::optional<std::string> interface;
  std::string state = shaping::Records::default_directory().string();
};

/// What one actuator left, on one interface or on all that are recorded; counts what was undone.
Result<int> reset_one(const Reset& options, const char* actuator,
                      Result<std::optional<std::string>> (*undo)(const std::string&,
                                                                 const shaping::Records&)) {
  const shaping::Records records(options.state);
  std::vector<std::string> interfaces;
  if (options.interface) {
    interfaces.push_back(*options.interface);
  } else {
    const auto all = records.all(actuator);
    if (!all) return tl::unexpected<Error>(all.error());
    for (const auto& each : *all) interfaces.push_back(each.interface);
  }
  int undone = 0;
  for (const std::string& each : interfaces) {
    const auto done = undo(each, records);
    if (!done) return tl::unexpected<Error>(done.error());
    if (!*done) continue;
    std::fputs((**done + "\n").c_str(), stdout);
    ++undone;
  }
  return undone;
}

Result<int> reset(const Reset& options) {
  if (options.interface) WDMOE_TRY(shaping::check_interface_name(*options.interface));
  const auto tc = reset_one(options, "tc", shaping::reset_tc);
  if (!tc) return tl::unexpected<Error>(tc.error());
  const auto wifi = reset_one(options, "wifi", shaping::reset_wifi);
  if (!wifi) return tl::unexpected<Error>(wifi.error());
  if (*tc + *wifi == 0) std::fputs("nothing of wdmoe was left on an interface\n", stdout);
  return 0;
}

}  // namespace

void add_radio_check(CommandGroup& commands) {
  auto options = std::make_shared<Check>();
  CLI::App& command =
      commands.add("check", "What this machine offers for shaping, and what stands in for the rest",
                   [options] { return check(*options); });
  command.add_option("--interface", options->interface, "look at this interface, too");
  command.add_option("-o,--output", options->output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

void add_radio_reset(CommandGroup& commands) {
  auto options = std::make_shared<Reset>();
  CLI::App& command =
      commands.add("reset", "Remove what a killed wdmoe-bsd left on interfaces; all else is kept",
                   [options] { return reset(*options); });
  command.add_option("--interface", options->interface,
                     "only this one; else all that are recorded");
  command.add_option("--state", options->state, "directory of the daemon's ownership records")
      ->capture_default_str();
}

void add_radio(Commands& commands) {
  CommandGroup own(commands, "radio",
                   "The radio: what this machine can do, undoing it, holding a station's shares");
  add_radio_check(own);
  add_radio_reset(own);
  add_radio_freeze(own);
  add_radio_resume(own);
}

}  // namespace wdmoe::cli
