#include "tests/support/fake_fleet.h"

#include <atomic>
#include <thread>

#include "agent/handler.h"
#include "agent/health.h"
#include "agent/server.h"
#include "agent/store.h"
#include "common/check.h"
#include "common/event_fd.h"
#include "kernels/thread_pool.h"

namespace wdmoe::test {
namespace {

agent::Store load(const RandomExperts& weights, const FakeAgentOptions& options,
                  kernels::ExpertBackend& backend) {
  std::vector<agent::Store::Held> held;
  for (const ExpertId id : options.experts) held.push_back({id, weights.at(id.layer, id.expert)});
  auto store = agent::Store::load(options.model_id, held, backend);
  WDMOE_CHECK(store.has_value());
  return std::move(*store);
}

agent::ServerOptions server_options(const FakeAgentOptions& options) {
  agent::ServerOptions server;
  server.endpoint = options.endpoint;
  server.keys = options.keys;
  server.spin = options.spin;
  server.socket.reconnect_first = milliseconds(10);
  return server;
}

}  // namespace

wire::Hello hello_of(const RandomExperts& weights, const FakeAgentOptions& options) {
  static std::atomic<std::uint64_t> instances{1};
  wire::Hello hello;
  hello.name = options.name;
  hello.software = "fake-agent";
  hello.model_id = options.model_id;
  hello.backend = options.fast ? "cpu" : "reference";
  hello.hidden_dim = static_cast<std::uint32_t>(weights.hidden());
  hello.max_rows = options.max_rows;
  hello.experts = options.experts;
  hello.dtypes = {DType::f32, DType::f16, DType::bf16};
  hello.features = wire::bit(fb::Feature::pacing);
  hello.instance = options.instance != 0 ? options.instance : ++instances;
  return hello;
}

struct FakeAgent::State {
  State(const wire::Context& context, const RandomExperts& weights, const FakeAgentOptions& options)
      : pool(1),
        backend(options.fast ? kernels::make_cpu_backend(pool) : kernels::make_reference_backend()),
        store(load(weights, options, *backend)),
        handler(store, *backend, clock, options.max_rows),
        sensors("/nonexistent"),
        server(context, server_options(options), hello_of(weights, options), handler, sensors,
               clock) {
    WDMOE_CHECK(server.open().has_value());
    agent::ServerHooks hooks;
    hooks.watchdog = options.watchdog;
    hooks.alive = options.alive;
    thread = std::thread([this, hooks] { server.run(stop.fd(), hooks); });
  }
  ~State() {
    stop.signal();
    thread.join();
  }

  SteadyClock clock;
  kernels::ThreadPool pool;
  std::unique_ptr<kernels::ExpertBackend> backend;
  agent::Store store;
  agent::Handler handler;
  agent::HealthSensors sensors;
  agent::Server server;
  EventFd stop;
  std::thread thread;
};

FakeAgent::FakeAgent(const wire::Context& context, const RandomExperts& weights,
                     FakeAgentOptions options)
    : state_(std::make_unique<State>(context, weights, options)) {}

FakeAgent::~FakeAgent() = default;

std::vector<ExpertId> planned_experts(const RandomExperts& weights, std::size_t agent,
                                      std::size_t agents) {
  std::vector<ExpertId> ids;
  for (std::size_t layer = 0; layer < weights.layers(); ++layer)
    for (std::size_t expert = agent; expert < weights.experts(); expert += agents)
      ids.push_back({static_cast<std::uint16_t>(layer), static_cast<std::uint16_t>(expert)});
  return ids;
}

FakeFleet::FakeFleet(const wire::Context& context, const RandomExperts& weights, std::size_t count,
                     FakeAgentOptions like) {
  for (std::size_t index = 0; index < count; ++index) {
    like.name = "agent-" + std::to_string(index);
    like.experts = planned_experts(weights, index, count);
    agents_.push_back(std::make_unique<FakeAgent>(context, weights, like));
  }
}

}  // namespace wdmoe::test
