// `wdmoe up`: a whole system on this machine, for demos, tests and benchmarks.  Everything it
// starts and writes is gone when it ends, whatever happens.

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bsd/model/model_config.h"
#include "cli/command.h"
#include "cli/http_client.h"
#include "common/fd.h"
#include "common/process.h"
#include "weights/checkpoint.h"
#include "weights/split.h"
#include "wire/keys.h"

namespace wdmoe::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

struct UpOptions {
  std::string model, plan;
  unsigned agents = 4;
  std::string wire = "f16";
  unsigned bs_threads = 0, agent_threads = 0;  // 0: one per core
  std::uint16_t port = 0;
  std::string transport = "ipc";
  std::vector<std::string> bsd_flags, agent_flags, command;
  bool keep = false;
  unsigned ready_within_s = 120;
};

/// A directory only we can read; removed with everything in it.
class PrivateDirectory {
 public:
  static Result<PrivateDirectory> make() {
    std::error_code failure;
    const fs::path base = fs::temp_directory_path(failure);
    std::string pattern = ((failure ? fs::path("/tmp") : base) / "wdmoe-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr)
      return fail(Code::io, "cannot make " + pattern + ": " + std::strerror(errno));
    return PrivateDirectory(pattern);
  }
  PrivateDirectory(PrivateDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  PrivateDirectory& operator=(PrivateDirectory&&) = delete;
  ~PrivateDirectory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  explicit PrivateDirectory(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

/// A socket that listens on loopback, to be handed to the base station: no port is ever guessed.
struct Listener {
  OwnedFd fd;
  std::string url;
};

Result<Listener> listen_on_loopback(std::uint16_t port) {
  Listener listener;
  listener.fd = OwnedFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  setsockopt(listener.fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  if (!listener.fd.valid() || bind(listener.fd.get(), generic, size) != 0 ||
      listen(listener.fd.get(), SOMAXCONN) != 0 ||
      getsockname(listener.fd.get(), generic, &size) != 0)
    return fail(Code::io,
                "cannot listen on 127.0.0.1:" + std::to_string(port) + ": " + std::strerror(errno));
  listener.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  return listener;
}

/// One running system; destroying it stops it.
class Cell {
 public:
  Cell(const UpOptions& options, PrivateDirectory directory)
      : options_(options), directory_(std::move(directory)) {}

  ~Cell() {
    for (auto& [name, process] : daemons_) process.signal(SIGTERM);  // all at once; ~Process waits
  }
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  Result<void> start() {
    WDMOE_TRY(cut_model());
    WDMOE_TRY(make_keys());
    WDMOE_TRY(start_base_station());
    return start_agents();
  }

  /// Waits until /healthz says ready; an error as soon as a daemon ends.
  Result<void> wait_until_ready() {
    auto client = HttpClient::to(listener_.url);
    if (!client) return tl::unexpected<Error>(client.error());
    client->set_patience(std::chrono::seconds(5));
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(options_.ready_within_s);
    std::string last = "no answer";
    while (std::chrono::steady_clock::now() < deadline) {
      WDMOE_TRY(check_daemons());
      if (const auto health = client->get("/healthz")) {
        if (health->status == 200) return {};
        last = health->body;
      }
      if (pending_stop(milliseconds(20)))
        return fail(Code::cancelled, "stopped before it was ready");
    }
    return fail(Code::timeout,
                "not ready after " + std::to_string(options_.ready_within_s) + " s: " + last);
  }

  /// An error naming the first daemon that has ended, with the last line it wrote.
  Result<void> check_daemons() {
    for (auto& [name, process] : daemons_)
      if (const auto status = process.poll())
        return fail(Code::unavailable,
                    name + " ended with " + std::to_string(*status) + ": " + last_line(name));
    return {};
  }

  const std::string& url() const { return listener_.url; }
  const fs::path& directory() const { return directory_.path(); }

  /// True when SIGINT or SIGTERM came within `patience` (they are blocked, see run_up()).
  static bool pending_stop(milliseconds patience) {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    const timespec wait{patience.count() / 1000, (patience.count() % 1000) * 1'000'000};
    return sigtimedwait(&stop, nullptr, &wait) > 0;
  }

 private:
  std::string endpoint() const {
    return options_.transport == "ipc" ? "ipc://" + (directory() / "cell.sock").string()
                                       : "tcp://127.0.0.1:" + std::to_string(tcp_port_);
  }
  fs::path keys() const { return directory() / "keys"; }

  Result<void> cut_model() {
    auto config = bsd::ModelConfig::load(options_.model);
    if (!config) return tl::unexpected<Error>(config.error());
    auto checkpoint = weights::Checkpoint::open(options_.model);
    if (!checkpoint) return tl::unexpected<Error>(checkpoint.error());
    auto plan = options_.plan.empty()
                    ? weights::default_plan(options_.agents, config->layers, config->experts)
                    : weights::load_plan(options_.plan, config->layers, config->experts);
    if (!plan) return tl::unexpected<Error>(plan.error());
    if (!plan->on_bs.empty())
      return fail(Code::unsupported, options_.plan + ": leaves " +
                                         std::to_string(plan->on_bs.size()) +
                                         " experts to the base station; give them to agents");
    for (const weights::AgentPlan& agent : plan->agents) agents_.push_back(agent.name);
    auto split = weights::write_split(*checkpoint, *plan, directory() / "shards", {});
    if (!split) return tl::unexpected<Error>(split.error());
    return {};
  }

  Result<void> make_keys() {
    std::error_code failure;
    fs::create_directories(keys() / "agents", failure);
    if (failure) return fail(Code::io, keys().string() + ": " + failure.message());
    if (auto made = wire::write_keys(keys(), "bsd", false); !made)
      return tl::unexpected<Error>(made.error());
    for (const std::string& name : agents_) {
      if (auto made = wire::write_keys(keys(), name, false); !made)
        return tl::unexpected<Error>(made.error());
      fs::rename(keys() / (name + ".pub"), keys() / "agents" / (name + ".pub"), failure);
      if (failure) return fail(Code::io, keys().string() + ": " + failure.message());
    }
    return {};
  }

  Result<void> start_base_station() {
    auto listener = listen_on_loopback(options_.port);
    if (!listener) return tl::unexpected<Error>(listener.error());
    listener_ = std::move(*listener);
    if (options_.transport == "tcp") {  // free a moment ago; the daemon says so if it no longer is
      auto probe = listen_on_loopback(0);
      if (!probe) return tl::unexpected<Error>(probe.error());
      tcp_port_ = std::stoi(probe->url.substr(probe->url.rfind(':') + 1));
    }
    std::vector<std::string> arguments{"wdmoe-bsd",
                                       "--model",
                                       options_.model,
                                       "--fleet-listen",
                                       endpoint(),
                                       "--fleet-secret-key",
                                       (keys() / "bsd.key").string(),
                                       "--fleet-authorized-agents",
                                       (keys() / "agents").string(),
                                       "--fleet-wire",
                                       options_.wire,
                                       "--engine-threads",
                                       std::to_string(options_.bs_threads)};
    arguments.insert(arguments.end(), options_.bsd_flags.begin(), options_.bsd_flags.end());
    return start_daemon("wdmoe-bsd", "bsd", std::move(arguments), listener_.fd.get());
  }

  Result<void> start_agents() {
    for (const std::string& name : agents_) {
      std::vector<std::string> arguments{"wdmoe-agent",
                                         "--name",
                                         name,
                                         "--shard",
                                         (directory() / "shards" / name).string(),
                                         "--connect",
                                         endpoint(),
                                         "--secret-key",
                                         (keys() / (name + ".key")).string(),
                                         "--server-key",
                                         (keys() / "bsd.pub").string(),
                                         "--threads",
                                         std::to_string(options_.agent_threads)};
      arguments.insert(arguments.end(), options_.agent_flags.begin(), options_.agent_flags.end());
      WDMOE_TRY(start_daemon("wdmoe-agent", name, std::move(arguments), std::nullopt));
    }
    return {};
  }

  Result<void> start_daemon(const char* program, const std::string& name,
                            std::vector<std::string> arguments, std::optional<int> listen_fd) {
    auto path = find_program(program);
    if (!path) return tl::unexpected<Error>(path.error());
    arguments[0] = *path;
    ProcessOptions process;
    process.arguments = std::move(arguments);
    process.output_file = log_file(name).string();
    process.listen_fd = listen_fd;
    auto started = Process::start(process);
    if (!started) return tl::unexpected<Error>(started.error());
    daemons_.emplace_back(name, std::move(*started));
    return {};
  }

  fs::path log_file(const std::string& name) const { return directory() / (name + ".log"); }

  std::string last_line(const std::string& name) const {
    std::ifstream file(log_file(name));
    std::string line, last;
    while (std::getline(file, line))
      if (!line.empty()) last = line;
    return last;
  }

  const UpOptions& options_;
  PrivateDirectory directory_;
  std::vector<std::string> agents_;  // by name
  Listener listener_;
  int tcp_port_ = 0;
  std::vector<std::pair<std::string, Process>> daemons_;
};

/// Runs COMMAND with WDMOE_URL set until it or a daemon ends or a signal comes.
Result<int> run_command(Cell& cell, const std::vector<std::string>& words) {
  ProcessOptions process;
  process.arguments = words;
  if (words.front() == "wdmoe") process.arguments[0] = "/proc/self/exe";  // this very program
  process.environment["WDMOE_URL"] = cell.url();
  process.own_group = false;  // it may read the terminal
  auto started = Process::start(process);
  if (!started) return tl::unexpected<Error>(started.error());
  for (;;) {
    if (const auto status = started->wait(milliseconds(50))) return *status;
    WDMOE_TRY(cell.check_daemons());
    if (Cell::pending_stop(milliseconds(0))) return started->stop();
  }
}

Result<int> stay(Cell& cell) {
  std::printf("WDMOE_URL=%s\n", cell.url().c_str());
  std::fflush(stdout);
  std::fprintf(stderr, "ready; logs in %s; Ctrl-C stops it\n", cell.directory().c_str());
  while (!Cell::pending_stop(milliseconds(200))) WDMOE_TRY(cell.check_daemons());
  return 0;
}

void block_stop_signals() {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGTERM);
  sigprocmask(SIG_BLOCK, &stop, nullptr);
}

Result<int> run_up(const UpOptions& options) {
  block_stop_signals();
  auto directory = PrivateDirectory::make();
  if (!directory) return tl::unexpected<Error>(directory.error());
  Cell cell(options, std::move(*directory));
  WDMOE_TRY(cell.start());
  WDMOE_TRY(cell.wait_until_ready());
  if (options.command.empty()) return stay(cell);
  auto status = run_command(cell, options.command);
  if (!status || !options.keep) return status;
  return stay(cell);
}

}  // namespace

void add_up(Commands& commands) {
  auto options = std::make_shared<UpOptions>();
  CLI::App& command = commands.add("up", "Run a base station and its agents on this machine",
                                   [options] { return run_up(*options); });
  command.add_option("MODEL", options->model, "Hugging Face directory")->required();
  auto* const agents =
      command.add_option("-a,--agents", options->agents, "agents the experts are spread over")
          ->check(CLI::Range(1u, 64u))
          ->capture_default_str();
  command
      .add_option("--plan", options->plan,
                  "plan file: who holds what (wdmoe plan; format: wdmoe split --help)")
      ->excludes(agents);
  command.add_option("--wire", options->wire, "element type of rows between them")
      ->check(CLI::IsMember({"f16", "bf16", "f32"}))
      ->capture_default_str();
  command.add_option("--threads", options->bs_threads,
                     "compute threads of the base station; 0: one per core");
  command.add_option("--agent-threads", options->agent_threads,
                     "compute threads of each agent; 0: one per core");
  command.add_option("--port", options->port, "HTTP port on 127.0.0.1; 0: any free one");
  command
      .add_option("--transport", options->transport,
                  "ipc (Unix sockets) or tcp (loopback); both with CURVE")
      ->check(CLI::IsMember({"ipc", "tcp"}))
      ->capture_default_str();
  command.add_option("--ready-within", options->ready_within_s, "seconds to wait for the system")
      ->capture_default_str();
  command
      .add_option("--bsd-flag", options->bsd_flags,
                  "further flag for wdmoe-bsd, as --bsd-flag=--key=value")
      ->allow_extra_args(false);
  command.add_option("--agent-flag", options->agent_flags, "further flag for every wdmoe-agent")
      ->allow_extra_args(false);
  command.add_flag("--keep", options->keep, "stay up after COMMAND until Ctrl-C");
  command.add_option("COMMAND", options->command,
                     "after --: run with WDMOE_URL set, then stop the system");
  command.footer(
      "examples:\n  wdmoe up models/demo --agents 4\n"
      "  wdmoe up models/demo --agents 2 -- wdmoe generate 'Once upon a time'");
}

}  // namespace wdmoe::cli
