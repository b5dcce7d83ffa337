// wdmoe-agent: computes the experts it holds for a base station.

#include <random>

#include <unistd.h>

#include "agent/config.h"
#include "agent/handler.h"
#include "agent/health.h"
#include "agent/server.h"
#include "agent/store.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/threads.h"
#include "kernels/backend_choice.h"
#include "kernels/ops.h"
#include "kernels/thread_pool.h"
#include "weights/shard.h"
#include "wire/keys.h"
#include "wire/socket.h"

namespace wdmoe::agent {
namespace {

std::uint64_t memory_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t random_number() {
  std::random_device source;
  return (std::uint64_t{source()} << 32) | source();
}

wire::Hello hello_for(const Config& config, const weights::Shard& shard, const Store& store) {
  wire::Hello hello;
  hello.name = config.name.empty() ? shard.manifest.name : config.name;
  if (!wire::is_agent_name(hello.name))
    throw ConfigError("name '" + hello.name + "': expected 1 to 64 of A-Z a-z 0-9 . _ -");
  hello.software = "wdmoe-agent " WDMOE_VERSION;
  hello.model_id = store.model_id();
  hello.hidden_dim = static_cast<std::uint32_t>(store.hidden());
  hello.max_rows = config.max_rows;
  hello.experts = store.experts();
  hello.dtypes = {DType::f32, DType::f16, DType::bf16};
  hello.memory_bytes = memory_bytes();
  hello.weights_bytes = store.weights_bytes();
  hello.instance = random_number();
  if (config.uplink_pacing) hello.features |= wire::bit(fb::Feature::pacing);
  return hello;
}

void report_failure(const Error& failure, const std::string& next) {
  log::error("backend_failed", {{"reason", failure.text}, {"next", next}});
}

void say_backend(const kernels::BackendChoice& choice) {
  const kernels::BackendFacts facts = choice.backend->facts();
  if (!choice.why_not_cuda.empty()) log::info("no_gpu", {{"reason", choice.why_not_cuda}});
  if (!facts.device.empty())
    log::info("gpu", {{"backend", choice.backend->name()}, {"device", facts.device}});
  if (facts.saturated_weights > 0)
    log::warn("weights_saturated",
              {{"weights", facts.saturated_weights},
               {"meaning", "were beyond f16's 65504 and became that; answers may be off"}});
}

void run(Daemon& daemon, int argc, char** argv) {
  bool check_only = false;
  const Program program{"wdmoe-agent",
                        "Computes the experts of a mixture-of-experts model for a base station.",
                        "/etc/wdmoe/agent.toml"};
  const auto config = load_config<Config>(argc, argv, program, check_only);
  log::start(config.log);

  auto keys = require(
      wire::client_keys(config.connect, config.insecure, config.secret_key, config.server_key));
  kernels::ThreadPool pool(thread_count(config.threads));
  const auto choice = require(kernels::choose_backend(
      {config.backend, config.backend_recovery, kernels::plugin_folder()}, pool, report_failure));
  kernels::ExpertBackend& backend = *choice.backend;
  const bool staged = config.staged && !backend.facts().copies_weights;
  const auto shard = require(weights::open_shard(
      config.shard,
      {config.verify_digests, staged ? weights::Access::staged : weights::Access::mapped}));
  const auto store = require(Store::load(shard, backend));
  wire::Hello hello = hello_for(config, shard, store);
  const std::string summary = hello.name + ": " + std::to_string(hello.experts.size()) +
                              " experts, " + std::to_string(store.weights_bytes() >> 20) +
                              " MiB, for " + config.connect;
  if (check_only) throw EarlyExit{"configuration, keys and shard are good: " + summary + "\n"};

  const SteadyClock clock;
  require(backend.reserve(config.max_rows, config.max_rows * store.widest_layer()));
  say_backend(choice);
  hello.backend = backend.name();
  Handler handler(store, backend, clock, config.max_rows);
  HealthSensors sensors;
  const wire::Context context;
  ServerOptions options;
  options.endpoint = config.connect;
  options.keys = std::move(keys);
  options.socket.dscp = static_cast<int>(config.uplink_dscp);
  options.spin = microseconds(config.spin_us);
  Server server(context, std::move(options), std::move(hello), handler, sensors, clock);
  require(server.open());
  if (config.insecure)
    log::warn("insecure", {{"reason", "no encryption and no authentication (insecure = true)"}});
  log::info(
      "started",
      {{"agent", summary}, {"threads", pool.threads()}, {"kernels", kernels::instruction_set()}});
  daemon.ready(summary);
  ServerHooks hooks;
  hooks.watchdog = daemon.watchdog_interval();
  hooks.alive = [&] { daemon.alive(); };
  hooks.status = [&](std::string_view state) {
    daemon.status(summary + ": " + std::string(state));
  };
  server.run(daemon.stop_fd(), hooks);
  daemon.stopping();
}

}  // namespace
}  // namespace wdmoe::agent

int main(int argc, char** argv) {
  return wdmoe::run_daemon("wdmoe-agent",
                           [&](wdmoe::Daemon& daemon) { wdmoe::agent::run(daemon, argc, argv); });
}
