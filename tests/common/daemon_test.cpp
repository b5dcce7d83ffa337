// run_daemon in child processes: exit codes, signals, what systemd hears.

#include "common/daemon.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/config.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;

namespace {

/// Forks, runs the daemon there and gives its exit code; `during` runs here meanwhile.
int run_in_child(
    const std::function<void(Daemon&)>& body,
    const std::function<void(pid_t)>& during = [](pid_t) {}) {
  std::cout.flush();  // or the child would write it again
  std::fflush(nullptr);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(run_daemon("test", body));
  during(child);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

void wait_for_stop(Daemon& daemon) {
  pollfd item{daemon.stop_fd(), POLLIN, 0};
  ::poll(&item, 1, 20'000);
}

/// The other end of NOTIFY_SOCKET.
class Systemd {
 public:
  Systemd() : path_((folder_ / "notify").string()) {
    fd_ = OwnedFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  ~Systemd() { ::unsetenv("NOTIFY_SOCKET"); }
  std::string next() {
    pollfd item{fd_.get(), POLLIN, 0};
    if (::poll(&item, 1, 20'000) != 1) return "nothing";
    std::array<char, 512> text{};
    const ssize_t got = ::recv(fd_.get(), text.data(), text.size(), 0);
    return {text.data(), static_cast<std::size_t>(got < 0 ? 0 : got)};
  }

 private:
  test::TempFolder folder_;
  std::string path_;
  OwnedFd fd_;
};

}  // namespace

TEST_CASE("daemon: exit codes tell a clean end, a failure and a bad configuration apart") {
  CHECK(run_in_child([](Daemon&) {}) == 0);
  CHECK(run_in_child([](Daemon&) { throw EarlyExit{""}; }) == 0);
  CHECK(run_in_child([](Daemon&) { throw ConfigError("threads = 0"); }) == 2);
  CHECK(run_in_child([](Daemon&) { throw std::runtime_error("port taken"); }) == 1);
  CHECK(run_in_child([](Daemon&) { throw std::bad_alloc(); }) == 1);
}

TEST_CASE("daemon: SIGTERM and SIGINT make the stop fd readable and end nothing by themselves") {
  for (const int signal : {SIGTERM, SIGINT}) {
    Systemd systemd;
    CHECK(run_in_child(
              [](Daemon& daemon) {
                ::raise(SIGPIPE);  // ignored
                if (daemon.stop_requested()) throw std::runtime_error("too early");
                daemon.ready("");
                wait_for_stop(daemon);
                if (!daemon.stop_requested()) throw std::runtime_error("not told");
              },
              [&](pid_t child) {
                systemd.next();  // it is ready: handlers stand
                ::kill(child, signal);
              }) == 0);
  }
}

TEST_CASE("daemon: systemd hears READY, STATUS, WATCHDOG and STOPPING") {
  Systemd systemd;
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  const int code = run_in_child([](Daemon& daemon) {
    if (daemon.watchdog_interval() != milliseconds(1500)) throw std::runtime_error("interval");
    daemon.ready("8 experts\nfor you");
    for (int turn = 0; turn < 100; ++turn) daemon.alive();  // heard once
    daemon.status("busy");
    daemon.stopping();
  });
  ::unsetenv("WATCHDOG_USEC");
  CHECK(code == 0);
  CHECK(systemd.next() == "READY=1\nSTATUS=8 experts for you");
  CHECK(systemd.next() == "WATCHDOG=1");
  CHECK(systemd.next() == "STATUS=busy");
  CHECK(systemd.next() == "STOPPING=1\nSTATUS=stopping");
}
