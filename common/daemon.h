#pragma once
// The shell of a daemon: signals, readiness, watchdog, exit codes.  main() is:
//
//   return wdmoe::run_daemon("wdmoe-agent", [&](wdmoe::Daemon& daemon) {
//     … build the parts; they throw std::runtime_error naming what is missing …
//     daemon.ready("8 experts");
//     server.run(daemon);      // returns once daemon.stop_fd() is readable and work is finished
//   });

#include <functional>
#include <optional>
#include <string_view>

#include "common/clock.h"
#include "common/fd.h"

namespace wdmoe {

/// Exit codes of every program of ours.
constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;    ///< could not start, or broke down
constexpr int kExitBadConfig = 2;  ///< bad flag or configuration: restarting will not help

class Daemon {
 public:
  /// Readable from the first SIGTERM or SIGINT on, for ever: poll it, never read it.
  int stop_fd() const { return signals_.get(); }
  bool stop_requested() const;

  /// READY=1 to systemd (nothing without it).  The watchdog runs from here on.
  void ready(std::string_view status);
  void status(std::string_view status);  ///< one line for `systemctl status`
  void stopping();

  /// How often to call alive(), half of what systemd demands; absent: no watchdog.
  std::optional<milliseconds> watchdog_interval() const { return watchdog_; }
  /// WATCHDOG=1: the loop that does the work goes round.  Call as often as you like: says it at
  /// most twice per watchdog_interval().
  void alive();

 private:
  friend int run_daemon(const char*, const std::function<void(Daemon&)>&);
  Daemon();
  OwnedFd signals_;
  std::optional<milliseconds> watchdog_;
  Instant next_alive_{};
};

/// Blocks SIGTERM and SIGINT (before any thread exists; children that are started must unblock
/// them), ignores SIGPIPE, runs `body`.  Returns the exit code: 0 after a clean stop or an
/// EarlyExit (whose text it prints), 2 after a ConfigError, 1 after any other exception; each with
/// one line.
int run_daemon(const char* name, const std::function<void(Daemon&)>& body);

}  // namespace wdmoe
