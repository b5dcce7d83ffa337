#include "cli/system.h"

#include <stdexcept>
#include <thread>
#include <utility>

#include <CLI/CLI.hpp>

#include "bsd/config.h"
#include "bsd/station.h"
#include "common/event_fd.h"
#include "common/log.h"

namespace wdmoe::cli {

struct System::Local {
  explicit Local(const bsd::Config& config)
      : station(config), thread([this] { station.run(stop.fd(), [] {}); }) {}
  ~Local() {
    stop.signal();
    thread.join();
  }
  EventFd stop;
  bsd::Station station;
  std::thread thread;
};

void SystemOptions::add_to(CLI::App& command) {
  auto* url = bsd.add_to(command, "base station to talk to");
  command.add_option("--model", model, "no base station: run this model in one process")
      ->excludes(url);
  command.add_option("--threads", threads, "compute threads with --model; 0: one per core");
}

Result<System> System::open(const SystemOptions& options) {
  if (options.model.empty()) {
    auto client = options.bsd.client();
    if (!client) return tl::unexpected<Error>(client.error());
    return System(std::move(*client), nullptr);
  }
  bsd::Config config;
  config.model = options.model;
  config.local_experts = true;
  config.http_listen = "127.0.0.1:0";
  config.threads = options.threads;
  config.trace_directory = options.trace_directory;
  config.log.level = "warn";
  log::start(config.log);
  try {
    auto local = std::make_unique<Local>(config);
    auto client = HttpClient::to(local->station.url());
    if (!client) return tl::unexpected<Error>(client.error());
    return System(std::move(*client), std::move(local));
  } catch (const std::runtime_error& error) {
    return fail(Code::bad_input, error.what());
  }
}

System::System(HttpClient client, std::unique_ptr<Local> local)
    : client_(std::move(client)), local_(std::move(local)) {}
System::System(System&&) noexcept = default;
System::~System() = default;

}  // namespace wdmoe::cli
