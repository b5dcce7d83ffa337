#pragma once
// Child processes that never outlive us: for `wdmoe up` and wdmoe-airlink, which must stop
// everything they started whatever happens.  Single-threaded callers only (fork).

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "common/result.h"

namespace wdmoe {

struct ProcessOptions {
  std::vector<std::string> arguments;  ///< arguments[0] is the program (PATH is searched)
  std::map<std::string, std::string> environment;  ///< added to ours
  std::optional<std::string> output_file;          ///< stdout and stderr go there; else inherited
  std::optional<std::string> folder;               ///< to run in; else ours
  std::optional<std::string> network_namespace;    ///< to run in, as a path; else ours
  std::optional<int> listen_fd;  ///< handed over as systemd does (fd 3, LISTEN_FDS=1)
  bool own_group = true;  ///< its own process group, so that a terminal's Ctrl-C reaches only us
};

/// A running child.  Destroying it asks it to stop (SIGTERM), then kills it after a grace period.
/// The kernel sends it SIGTERM too when we die (PR_SET_PDEATHSIG).
class Process {
 public:
  static Result<Process> start(const ProcessOptions& options);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  pid_t pid() const { return pid_; }
  /// The exit status if it has ended: 0-255, or 128 + signal.
  std::optional<int> poll();
  /// Waits up to `patience`; empty if it still runs.
  std::optional<int> wait(std::chrono::milliseconds patience);
  void signal(int number) const;
  /// SIGTERM, `grace`, SIGKILL; returns the exit status.
  int stop(std::chrono::milliseconds grace = std::chrono::seconds(10));

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
  std::optional<int> status_;
};

/// Where a sibling program of ours lies: beside this executable, in the build tree beside its
/// folder, or in PATH.
Result<std::string> find_program(const std::string& name);

}  // namespace wdmoe
