// wdmoe-bsd: the base station.  Non-expert layers, gating and the API here; experts on the agents.

#include <stdexcept>

#include <systemd/sd-daemon.h>

#include "bsd/config.h"
#include "bsd/station.h"
#include "common/daemon.h"
#include "common/log.h"

namespace wdmoe::bsd {
namespace {

/// The HTTP socket of a .socket unit (or of `wdmoe up`), or -1.
int inherited_socket() {
  const int count = sd_listen_fds(1);
  if (count > 1) throw std::runtime_error("socket activation passed more than one socket");
  return count == 1 ? SD_LISTEN_FDS_START : -1;
}

void run(Daemon& daemon, int argc, char** argv) {
  bool check_only = false;
  const Program program{
      "wdmoe-bsd", "The base station: runs a mixture-of-experts model whose experts are on agents.",
      "/etc/wdmoe/bsd.toml"};
  const auto config = load_config<Config>(argc, argv, program, check_only);
  log::start(config.log);
  if (check_only)
    throw EarlyExit{"configuration, keys and model are good: " + Station::check(config) + "\n"};
  Station station(config, inherited_socket());
  log::info("http_listening", {{"url", station.url()}});
  log::info("started", {{"station", station.summary()}});
  daemon.ready(station.summary());
  station.run(daemon.stop_fd(), [&] { daemon.alive(); });
  daemon.stopping();
  log::info("stopped");
}

}  // namespace
}  // namespace wdmoe::bsd

int main(int argc, char** argv) {
  return wdmoe::run_daemon("wdmoe-bsd",
                           [&](wdmoe::Daemon& daemon) { wdmoe::bsd::run(daemon, argc, argv); });
}
