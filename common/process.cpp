#include "common/process.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace wdmoe {
namespace {

constexpr int kListenFd = 3;         // SD_LISTEN_FDS_START
constexpr int kCannotExecute = 127;  // as a shell reports it

int status_from(int raw) {
  return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
}

/// In the child, between fork and exec.
void become_child(const ProcessOptions& options, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kCannotExecute);  // the parent died before prctl took effect
  if (options.own_group) setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (options.network_namespace) {
    const int fd = ::open(options.network_namespace->c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) _exit(kCannotExecute);
  }
  if (options.output_file) {
    const int fd =
        ::open(options.output_file->c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) _exit(kCannotExecute);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
  }
  if (options.folder && chdir(options.folder->c_str()) != 0) _exit(kCannotExecute);
  for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
  if (options.listen_fd) {
    // dup2 onto itself would keep close-on-exec set.
    if (*options.listen_fd == kListenFd)
      fcntl(kListenFd, F_SETFD, 0);
    else
      dup2(*options.listen_fd, kListenFd);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  }
}

}  // namespace

Result<Process> Process::start(const ProcessOptions& options) {
  std::vector<char*> argv;
  for (const std::string& argument : options.arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  // The child reports a failed exec through a pipe that a successful exec closes.
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0)
    return fail(Code::io, std::string("pipe: ") + std::strerror(errno));
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const int reason = errno;
    close(report[0]);
    close(report[1]);
    return fail(Code::io, std::string("fork: ") + std::strerror(reason));
  }
  if (pid == 0) {
    if (report[1] == kListenFd) report[1] = fcntl(report[1], F_DUPFD_CLOEXEC, kListenFd + 1);
    become_child(options, parent);
    execvp(argv[0], argv.data());
    const int reason = errno;
    (void)!write(report[1], &reason, sizeof reason);
    _exit(kCannotExecute);
  }
  close(report[1]);
  int reason = 0;
  const ssize_t count = read(report[0], &reason, sizeof reason);
  close(report[0]);
  if (count > 0) {
    waitpid(pid, nullptr, 0);
    return fail(Code::not_found,
                "cannot start '" + options.arguments[0] + "': " + std::strerror(reason));
  }
  return Process(pid);
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(status_, other.status_);
  return *this;
}

Process::~Process() {
  if (pid_ > 0 && !status_) stop();
}

std::optional<int> Process::poll() {
  return wait(std::chrono::milliseconds(0));
}

std::optional<int> Process::wait(std::chrono::milliseconds patience) {
  if (status_) return status_;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  const int handle = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  for (;;) {
    int raw = 0;
    if (waitpid(pid_, &raw, WNOHANG) == pid_) {
      status_ = status_from(raw);
      break;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    pollfd ended{handle, POLLIN, 0};
    ::poll(&ended, 1, static_cast<int>(left.count()));  // a signal or the end wakes it
  }
  if (handle >= 0) close(handle);
  return status_;
}

void Process::signal(int number) const {
  if (pid_ > 0 && !status_) kill(pid_, number);
}

int Process::stop(std::chrono::milliseconds grace) {
  signal(SIGTERM);
  if (!wait(grace)) {
    signal(SIGKILL);
    wait(std::chrono::hours(1));
  }
  return status_.value_or(128 + SIGKILL);
}

Result<std::string> find_program(const std::string& name) {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto folder = self.parent_path();
  // installed: bin/wdmoe beside bin/wdmoe-bsd; built: cli/wdmoe, bsd/wdmoe-bsd, agent/wdmoe-agent
  for (const auto& candidate :
       {folder / name, folder.parent_path() / "bsd" / name, folder.parent_path() / "agent" / name})
    if (access(candidate.c_str(), X_OK) == 0) return candidate.string();
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    const auto candidate = std::filesystem::path(rest.substr(0, end)) / name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate.string();
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return fail(Code::not_found,
              name + " not found beside " + self.string() + " nor in PATH; is it installed?");
}

}  // namespace wdmoe
