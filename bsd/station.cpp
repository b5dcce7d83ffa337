#include "bsd/station.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "bsd/actuators.h"
#include "bsd/air_control.h"
#include "bsd/api/server.h"
#include "bsd/control.h"
#include "bsd/decode.h"
#include "bsd/engine.h"
#include "bsd/engine_host.h"
#include "bsd/fleet/fleet.h"
#include "bsd/http_settings.h"
#include "bsd/layer_budgets.h"
#include "bsd/metrics.h"
#include "bsd/model/kv_cache.h"
#include "bsd/model/local_experts.h"
#include "bsd/model/tokenizer.h"
#include "bsd/moe/ledger.h"
#include "bsd/moe/switchable.h"
#include "bsd/reports.h"
#include "bsd/status.h"
#include "bsd/trace/recorder.h"
#include "common/log.h"
#include "common/threads.h"
#include "kernels/expert_backend.h"
#include "weights/mixtral_names.h"
#include "wire/keys.h"
#include "wire/socket.h"

namespace wdmoe::bsd {
namespace {

constexpr std::chrono::seconds kDrain{10};           // running answers after a stop
constexpr std::chrono::milliseconds kFlushLook{10};  // last bytes of those answers …
constexpr int kFlushLooks = 100;                     // … for at most a second

EngineOptions engine_options(const Config& config) {
  EngineOptions options;
  options.prefill_chunk = config.prefill_chunk;
  options.max_sequences = config.max_sequences;
  options.max_waiting = config.queue;
  options.max_context = config.max_context;
  options.retry_deadline = config.retry_deadline;
  return options;
}

/// Tokens of the largest step: every running sequence's next one beside a chunk of prompts.
std::size_t most_rows(const Config& config) {
  return std::min<std::size_t>(EngineOptions{}.max_rows,
                               std::size_t{config.prefill_chunk} + config.max_sequences);
}

/// The engine's thread also serves the radio: agents come and go between two steps.
class FleetHost final : public EngineHost {
 public:
  explicit FleetHost(Fleet& fleet) : fleet_(fleet) {}
  void wait(Nanoseconds timeout, int wake_fd) override {
    fleet_.service(timeout, Span<const int>(&wake_fd, 1));
  }

 private:
  Fleet& fleet_;
};

}  // namespace

/// Everything the base station is made of, in the order of dependence.
struct Station::Parts {
  Parts(const Config& config_in, int inherited_http);
  void run(int stop_fd);

  std::unique_ptr<Fleet> open_fleet();
  std::unique_ptr<ExpertRunner> load_local_experts();
  std::unique_ptr<EngineHost> make_host();
  std::unique_ptr<AirControl> make_air_control();
  std::unique_ptr<SwitchablePolicy> make_policy_of_config() const;
  trace::Recorder::Options recorder_options();
  api::Hooks api_hooks();
  Result<void> submit(Request request, EventSink sink);
  FleetSnapshot fleet_snapshot() const { return fleet ? fleet->snapshot() : FleetSnapshot{}; }
  AirReport air_report() const { return air ? air->report() : AirReport{}; }
  api::Health health() const;
  std::string model_summary() const;
  bool turning() const;
  void serve_engine();
  void stop_by(Instant deadline);
  void begin_stop();
  void finish_stop();
  void flush_then_close(int looks_left);

  const Config config;
  SteadyClock clock;
  std::function<void()> alive = [] {};  // set before the engine's thread starts
  std::atomic<Instant> stop_at{Instant::max()};
  weights::Checkpoint checkpoint;
  ModelConfig model;
  std::string model_id;
  std::unique_ptr<const Tokenizer> tokenizer;
  kernels::ThreadPool pool;

  wire::Context context;
  std::unique_ptr<Fleet> fleet;                     // agents, or …
  std::unique_ptr<kernels::ExpertBackend> backend;  // … experts in this process
  std::unique_ptr<ExpertRunner> local_experts;
  std::unique_ptr<EngineHost> host;

  std::unique_ptr<SwitchablePolicy> policy;
  Ledger ledger;
  trace::Recorder recorder;
  Control control;
  std::unique_ptr<Decoder> decoder;
  KvCache cache;
  Engine engine;
  Metrics metrics;

  boost::asio::io_context io;
  boost::asio::steady_timer flush_timer;
  std::unique_ptr<AirControl> air;  // none with the experts in this process
  api::Server server;
};

Station::Parts::Parts(const Config& config_in, int inherited_http)
    : config(config_in),
      checkpoint(require(weights::Checkpoint::open(config.model))),
      model(require(ModelConfig::load(config.model))),
      model_id(require(weights::model_id(checkpoint))),
      tokenizer(require(Tokenizer::load(config.model))),
      pool(thread_count(config.threads)),
      fleet(config.local_experts ? nullptr : open_fleet()),
      backend(config.local_experts ? kernels::make_cpu_backend(pool) : nullptr),
      local_experts(config.local_experts ? load_local_experts() : nullptr),
      host(make_host()),
      policy(make_policy_of_config()),
      ledger(model.layers),
      recorder(recorder_options(), clock),
      control(*policy, recorder, model_id),
      decoder(require(Decoder::load(checkpoint, model, pool,
                                    fleet ? static_cast<ExpertRunner&>(*fleet) : *local_experts,
                                    *policy))),
      cache(model, std::size_t{config.kv_cache_mib} << 20),
      engine(engine_options(config), *decoder, cache, *tokenizer, *host, clock),
      flush_timer(io),
      air(make_air_control()),
      server(io, http_settings(config, inherited_http, model, *tokenizer, engine.max_context()),
             api_hooks(), *tokenizer) {
  decoder->selector().add_witness(ledger);
  decoder->selector().add_witness(recorder);
}

std::unique_ptr<Fleet> Station::Parts::open_fleet() {
  FleetOptions options;
  options.endpoint = config.fleet_listen;
  options.keys = require(wire::server_keys(config.fleet_listen, config.insecure, config.secret_key,
                                           config.authorized_agents));
  options.wire = require(dtype_from(config.wire));
  options.deadline = config.exchange_deadline;
  options.heartbeat = config.heartbeat;
  options.spin = microseconds(config.spin_us);
  options.socket.dscp = static_cast<int>(config.fleet_dscp);
  options.priority_of = priority_of(config);
  options.turning = [this] { return turning(); };
  if (config.insecure)
    log::warn("insecure", {{"reason", "no encryption and no authentication (insecure = true)"}});
  return require(Fleet::open(context, std::move(options),
                             {model_id, model.layers, model.experts, model.hidden,
                              most_rows(config), model.experts_per_token},
                             clock));
}

std::unique_ptr<ExpertRunner> Station::Parts::load_local_experts() {
  return require(make_local_experts(checkpoint, model, *backend));
}

std::unique_ptr<EngineHost> Station::Parts::make_host() {
  if (fleet) return std::make_unique<FleetHost>(*fleet);
  return std::make_unique<LocalHost>();
}

std::unique_ptr<AirControl> Station::Parts::make_air_control() {
  check_actuators(config);
  if (!fleet) return nullptr;
  const auto bits_per_row =
      static_cast<double>(model.hidden * bytes_of(require(dtype_from(config.wire))) * 8);
  return std::make_unique<AirControl>(io, config, *fleet, clock, bits_per_row);
}

std::unique_ptr<SwitchablePolicy> Station::Parts::make_policy_of_config() const {
  std::vector<double> layer_quality;
  if (!config.layer_budgets.empty())
    layer_quality =
        require(load_layer_budgets(config.layer_budgets, model_id, model.layers)).layers;
  return require(SwitchablePolicy::make({config.policy, {config.quality, config.beta}},
                                        std::move(layer_quality)));
}

trace::Recorder::Options Station::Parts::recorder_options() {
  trace::Recorder::Options options;
  options.model = {model_id, model.layers, model.experts, model.experts_per_token};
  options.directory = config.trace_directory;
  options.most_bytes = std::uint64_t{config.trace_most_mib} << 20;
  options.on_full = [this] {
    boost::asio::post(io, [this] { (void)control.stop_trace(); });  // too late if a client did
  };
  return options;
}

api::Hooks Station::Parts::api_hooks() {
  api::Hooks hooks;
  hooks.submit = [this](Request request, EventSink sink) {
    return submit(std::move(request), std::move(sink));
  };
  hooks.cancel = [this](RequestId id) { engine.cancel(id); };
  hooks.health = [this] { return health(); };
  hooks.metrics = [this] {
    const FleetSnapshot agents = fleet_snapshot();
    const AirReport on_air = air_report();
    return metrics.text(engine.stats(), fleet ? &agents : nullptr, ledger.snapshot(),
                        policy->setting().policy, &on_air);
  };
  hooks.agents = [this] { return agents_json(fleet_snapshot()); };
  hooks.status = [this] {
    return status_json({served_name(config), policy->setting().policy, health().ready,
                        in_seconds(clock.now().time_since_epoch()), engine.stats(),
                        fleet_snapshot(), air_report(), ledger.snapshot().errors});
  };
  hooks.radio = [this] { return radio_json(air_report()); };
  hooks.freeze_radio = [this](bool on) -> Result<void> {
    if (!air) return fail(Code::unavailable, "the experts are in this process: there is no radio");
    return air->freeze(on);
  };
  control.serve(hooks);
  hooks.authorised = api_key_check(config);
  hooks.count_request = [this](unsigned status) { metrics.count_request(status); };
  hooks.observe_first_token = [this](double seconds) { metrics.observe_first_token(seconds); };
  hooks.observe_inter_token = [this](double seconds) { metrics.observe_inter_token(seconds); };
  return hooks;
}

Result<void> Station::Parts::submit(Request request, EventSink sink) {
  if (const api::Health now = health(); !now.ready)
    return fail(Code::unavailable, now.missing.front());
  return engine.submit(std::move(request), std::move(sink));
}

api::Health Station::Parts::health() const {
  if (!fleet) return {true, {}};
  const FleetSnapshot agents = fleet->snapshot();
  if (agents.complete) return {true, {}};
  return {false, {agents.missing}};
}

/// The engine's thread, while it waits for a layer: alive, and not beyond the end of a stop.
bool Station::Parts::turning() const {
  alive();
  return clock.now() < stop_at.load();
}

void Station::Parts::serve_engine() {
  engine.run(alive);
  if (fleet) fleet->say_goodbye();
}

void Station::Parts::run(int stop_fd) {
  // A copy: the descriptor closes what it was given.
  boost::asio::posix::stream_descriptor stop(io, ::dup(stop_fd));
  stop.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                  [this](boost::system::error_code) { begin_stop(); });
  const auto work = boost::asio::make_work_guard(io);

  if (air) air->start();
  std::exception_ptr broken, engine_broken;
  std::thread engine_thread([&] {
    try {
      serve_engine();
    } catch (...) {  // out of memory: nothing after this can be trusted to answer
      engine_broken = std::current_exception();
    }
    boost::asio::post(io, [this] { finish_stop(); });
  });
  try {
    io.run();
  } catch (...) {  // of a handler: the engine must not outlive what it answers to
    broken = std::current_exception();
    stop_by(clock.now());
  }
  engine_thread.join();
  if (broken) std::rethrow_exception(broken);
  if (engine_broken) std::rethrow_exception(engine_broken);
}

void Station::Parts::stop_by(Instant deadline) {
  stop_at = deadline;
  engine.stop(deadline);
}

void Station::Parts::begin_stop() {
  server.stop_accepting();
  stop_by(clock.now() + kDrain);
}

void Station::Parts::finish_stop() {
  server.stop_accepting();
  if (air) air->stop();
  flush_then_close(kFlushLooks);
}

/// The engine has ended; its last events are still on their way to slow readers.
void Station::Parts::flush_then_close(int looks_left) {
  if (server.connections() == 0 || looks_left == 0) {
    server.close();
    io.stop();
    return;
  }
  flush_timer.expires_after(kFlushLook);
  flush_timer.async_wait(
      [this, looks_left](boost::system::error_code) { flush_then_close(looks_left - 1); });
}

Station::Station(const Config& config, int inherited_http)
    : parts_(std::make_unique<Parts>(config, inherited_http)) {}

Station::~Station() = default;

std::string Station::check(Config config) {
  check_http(config);
  if (!config.local_experts) {
    if (!wire::is_ipc(config.fleet_listen) && config.fleet_listen.rfind("tcp://", 0) != 0)
      throw std::runtime_error("fleet.listen = " + config.fleet_listen +
                               ": expected tcp://ADDRESS:PORT or ipc://PATH");
    require(wire::server_keys(config.fleet_listen, config.insecure, config.secret_key,
                              config.authorized_agents));
    config.fleet_listen = "inproc://check";  // nobody outside this process sees it
    check_actuators(config);
    config.radio_actuators.clear();  // a running base station holds them
    config.radio_log_csv.clear();
  }
  // In place of a listening socket, one that is not bound to anything; the server owns it.
  const Station station(config, ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return station.parts_->model_summary();
}

std::string Station::Parts::model_summary() const {
  return served_name(config) + ": " + std::to_string(model.layers) + " layers of " +
         std::to_string(model.experts) + " experts";
}

std::string Station::summary() const {
  return parts_->model_summary() + ", " +
         (parts_->fleet ? "agents at " + parts_->fleet->endpoint() : "experts in this process") +
         ", API at " + url();
}

std::string Station::url() const {
  return parts_->server.url();
}

void Station::run(int stop_fd, std::function<void()> alive) {
  parts_->alive = std::move(alive);
  parts_->run(stop_fd);
}

}  // namespace wdmoe::bsd
