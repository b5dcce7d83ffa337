// `wdmoe-airlink`: a radio cell in network namespaces, for rehearsals and tests without radios.

#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "common/config.h"
#include "common/daemon.h"
#include "common/process.h"
#include "sim/airlink/namespaces.h"
#include "sim/airlink/relay.h"
#include "sim/airlink/report.h"
#include "sim/airlink/scenario.h"
#include "weights/file.h"

namespace wdmoe::airlink {
namespace {

constexpr const char* kHelp = R"(
Makes a network namespace for the base station (wdmoe.CELL.bs, 10.77.0.1) and one for
each device (wdmoe.CELL.NAME, 10.77.0.2 …), each with a TUN device air0, and carries
packets between them with the rate, delay, jitter, loss and queues of the scenario.
When all is ready it prints the layout as one line of JSON.  It ends with COMMAND,
after --for seconds or on SIGTERM, and removes what it made; what a killed one left
goes when the next one starts.  Needs root.

Examples:
  wdmoe-airlink scenarios/field.toml --check
  wdmoe-airlink scenarios/field.toml -- ping -c 5 10.77.0.2
  wdmoe-airlink scenarios/field.toml --report air.json &
  ip netns exec wdmoe.field.bs wdmoe-bsd --fleet-listen tcp://10.77.0.1:7000 …
docs/airlink.md explains scenarios and report.)";

struct Options {
  std::string scenario, report;
  std::optional<std::uint64_t> seed;
  double seconds = 0;
  bool check = false, print = false, clean = false, wait = false;
  std::vector<std::string> command;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("A radio cell of network namespaces, emulated in user space", "wdmoe-airlink");
  app.set_version_flag("--version", "wdmoe-airlink " WDMOE_VERSION);
  app.add_option("SCENARIO.toml", options.scenario, "devices, links, channel and events");
  app.add_option("--seed", options.seed, "instead of the scenario's")->check(CLI::Range(0.0, 1e15));
  app.add_option("--for", options.seconds, "end after this many seconds")
      ->check(CLI::Range(0.001, 1e6));
  app.add_option("--report", options.report, "file for what was carried, as JSON");
  app.add_flag("--wait", options.wait, "channel and events start with SIGUSR1, not at once");
  app.add_flag("--check", options.check, "read the scenario, then end");
  app.add_flag("--print-scenario", options.print, "print every key with its default, then end");
  app.add_flag("--clean", options.clean, "only remove what killed emulators left");
  app.add_option("COMMAND", options.command,
                 "after --: run in the base station's namespace, then end with its status");
  app.footer(kHelp);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    throw EarlyExit{app.help()};
  } catch (const CLI::CallForVersion&) {
    throw EarlyExit{"wdmoe-airlink " WDMOE_VERSION "\n"};
  } catch (const CLI::ParseError& error) {
    throw ConfigError(std::string(error.what()) + "; see --help");
  }
  if (options.print) throw EarlyExit{print_scenario()};
  if (options.scenario.empty() && !options.clean)
    throw ConfigError("expected SCENARIO.toml; see --help");
  return options;
}

Scenario scenario_of(const Options& options) {
  auto scenario = load_scenario(options.scenario);
  if (!scenario) throw ConfigError(scenario.error().text);
  if (options.seed) scenario->seed = *options.seed;
  return std::move(*scenario);
}

OwnedFd block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  OwnedFd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) require(Result<void>(refused("signalfd")));
  return fd;
}

std::optional<Process> start_command(const Options& options, const Scenario& scenario) {
  if (options.command.empty()) return std::nullopt;
  ProcessOptions process;
  process.arguments = options.command;
  if (!scenario.bs_on_host) process.network_namespace = namespace_path(scenario.bs_namespace());
  process.own_group = false;  // it may read the terminal
  return require(Process::start(process));
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The exit status.
int emulate(const Options& options, const Scenario& scenario, Daemon& daemon) {
  const OwnedFd signals = block_signals();
  const Namespaces namespaces = require(Namespaces::make(scenario.name, scenario.namespaces()));
  Relay relay(scenario, require(open_ends(scenario)));
  auto child = start_command(options, scenario);
  if (!child) {
    std::printf("%s\n", layout_of(scenario).c_str());
    std::fflush(stdout);
  }
  const bool real_time = become_real_time();
  Relay::Control control;
  control.stop_fd = daemon.stop_fd();
  control.signal_fd = signals.get();
  control.wait_for_start = options.wait;
  if (options.seconds > 0)
    control.most = Nanoseconds(static_cast<std::int64_t>(1e9 * options.seconds));
  if (child) control.child_ended = [&] { return child->poll().has_value(); };
  daemon.ready(scenario.name);
  require(relay.run(control));
  daemon.stopping();
  if (!options.report.empty())
    require(weights::write_text(options.report, report_of(scenario, relay.air(), relay.record(),
                                                          {real_time, cpu_seconds()})));
  return child ? child->stop() : kExitOk;
}

}  // namespace
}  // namespace wdmoe::airlink

int main(int argc, char** argv) {
  int status = wdmoe::kExitOk;
  const int failure = wdmoe::run_daemon("wdmoe-airlink", [&](wdmoe::Daemon& daemon) {
    namespace airlink = wdmoe::airlink;
    const auto options = airlink::parse(argc, argv);
    if (options.clean) {
      wdmoe::require(airlink::Namespaces::remove_dead());
      return;
    }
    const auto scenario = airlink::scenario_of(options);
    if (!options.check) status = airlink::emulate(options, scenario, daemon);
  });
  return failure != wdmoe::kExitOk ? failure : status;
}
