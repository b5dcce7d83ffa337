#include "common/daemon.h"

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include <poll.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#include "common/check.h"
#include "common/config.h"
#include "common/log.h"

namespace wdmoe {
namespace {

void notify(std::string message) {
  for (char& c : message)  // STATUS is one line; a newline would begin another assignment
    if (c == '\r') c = ' ';
  sd_notify(0, message.c_str());  // without systemd: does nothing
}

std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& c : line)
    if (c == '\n') c = ' ';
  return line;
}

}  // namespace

Daemon::Daemon() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  WDMOE_CHECK(pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0);
  std::signal(SIGPIPE, SIG_IGN);  // a closed peer is an error code, not the end
  signals_ = OwnedFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  WDMOE_CHECK(signals_.valid());
  std::uint64_t watchdog_us = 0;
  if (sd_watchdog_enabled(0, &watchdog_us) > 0 && watchdog_us >= 2000)
    watchdog_ = milliseconds(watchdog_us / 2000);
}

bool Daemon::stop_requested() const {
  pollfd item{signals_.get(), POLLIN, 0};
  return ::poll(&item, 1, 0) > 0;
}

void Daemon::ready(std::string_view status) {
  notify("READY=1\nSTATUS=" + one_line(status));
}
void Daemon::status(std::string_view status) {
  notify("STATUS=" + one_line(status));
}
void Daemon::stopping() {
  notify("STOPPING=1\nSTATUS=stopping");
}
void Daemon::alive() {
  if (!watchdog_) return;
  const Instant now = SteadyClock().now();
  if (now < next_alive_) return;
  next_alive_ = now + *watchdog_ / 2;  // half: a caller with the same period must not miss one
  notify("WATCHDOG=1");
}

int run_daemon(const char* name, const std::function<void(Daemon&)>& body) {
  try {
    Daemon daemon;
    body(daemon);
    return kExitOk;
  } catch (const EarlyExit& exit) {
    std::fputs(exit.text.c_str(), stdout);
    return std::fflush(stdout) == 0 ? kExitOk : kExitFailure;
  } catch (const ConfigError& error) {
    std::fprintf(stderr, "%s: %s\n", name, one_line(error.what()).c_str());
    return kExitBadConfig;
  } catch (const std::bad_alloc&) {
    log::critical("cannot_run", {{"program", name}, {"reason", "out of memory"}});
  } catch (const std::exception& error) {
    log::critical("cannot_run", {{"program", name}, {"reason", error.what()}});
  }
  return kExitFailure;
}

}  // namespace wdmoe
