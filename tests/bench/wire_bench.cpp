// Messages and sockets: encode, verify and decode; a ROUTER/DEALER round trip; a whole exchange of
// the Fleet with agents in processes of their own.
//   wire_bench --benchmark_filter=round_trip   us per frame there and back, the sockets alone
//   wire_bench --benchmark_filter=exchange     us per exchange over agents x rows x transport
// Answers are checked before anything is timed.

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bsd/fleet/fleet.h"
#include "tests/support/fake_fleet.h"
#include "tests/support/temp_folder.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace {

using namespace wdmoe;

constexpr std::size_t kHidden = 512;

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "wire_bench: %s\n", what);
  std::exit(1);
}

int number_from_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

std::vector<fb::Assignment> two_each(std::size_t rows) {
  std::vector<fb::Assignment> wishes;
  for (std::size_t row = 0; row < rows; ++row)
    for (const std::uint16_t expert : {std::uint16_t{0}, std::uint16_t{4}})
      wishes.emplace_back(static_cast<std::uint32_t>(row), expert, std::uint16_t{0}, 0.5f);
  return wishes;
}

void encode_dispatch(benchmark::State& state) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  const auto wishes = two_each(rows);
  const std::vector<std::byte> data(rows * kHidden * 2, std::byte{1});
  wire::Encoder encoder;
  std::size_t bytes = 0;
  for (auto _ : state) {
    std::memcpy(encoder.begin_rows(rows, kHidden, DType::f16).data, data.data(), data.size());
    bytes = encoder.finish_dispatch(1, 0, DType::f16, wishes).size();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
}
BENCHMARK(encode_dispatch)->Arg(1)->Arg(128);

void decode_dispatch(benchmark::State& state) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  wire::Encoder encoder;
  std::memset(encoder.begin_rows(rows, kHidden, DType::f16).data, 1, rows * kHidden * 2);
  const Bytes sent = encoder.finish_dispatch(1, 0, DType::f16, two_each(rows));
  require(sent.size() > rows * kHidden * 2, "the frame lacks its rows");
  wire::Frame frame;
  for (auto _ : state) {
    frame.assign(sent.data(), sent.size());  // the copy into aligned memory is part of arriving
    auto message = wire::decode(frame.bytes(), {});
    benchmark::DoNotOptimize(message);
    require(message.has_value(), "a good frame was refused");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(sent.size()) * state.iterations());
}
BENCHMARK(decode_dispatch)->Arg(1)->Arg(128);

/// A child process that runs `body(endpoint)` once it was told where, and dies with us.  Made
/// before our threads exist; told when the address, with the port that was free, is known.
class Child {
 public:
  template <class F>
  explicit Child(F body) {
    require(::pipe(pipe_) == 0, "cannot make a pipe");
    pid_ = ::fork();
    require(pid_ >= 0, "cannot fork");
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char endpoint[256] = {};
    require(::read(pipe_[0], endpoint, sizeof endpoint - 1) > 0, "the bench has ended");
    body(std::string(endpoint));
    ::_exit(0);
  }
  void tell(const std::string& endpoint) {
    require(::write(pipe_[1], endpoint.data(), endpoint.size()) > 0, "a child has ended");
  }
  ~Child() {
    ::close(pipe_[0]);
    ::close(pipe_[1]);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

 private:
  int pipe_[2] = {-1, -1};
  pid_t pid_ = -1;
};

/// Where a bench binds: a free port, or a socket in its own folder.
std::string endpoint_for(bool tcp, const test::TempFolder& folder) {
  return tcp ? "tcp://127.0.0.1:*" : folder.ipc("bench");
}

[[noreturn]] void echo_for_ever(const std::string& endpoint,
                                const std::optional<wire::ClientKeys>& keys) {
  const wire::Context context;
  const auto dealer = wire::Dealer::connect(context, endpoint, keys, {});
  require(dealer.has_value(), "cannot connect");
  const std::byte hello{};
  while ((*dealer)->send({&hello, 1}) != wire::Sent::ok) ::sched_yield();
  wire::Frame frame;
  for (;;) {
    wire::WaitItem item{(*dealer)->handle()};
    wire::wait({&item, 1}, milliseconds(-1));
    while ((*dealer)->receive(frame)) (*dealer)->send(frame.bytes());
  }
}

void await(wire::Router& router, wire::Incoming& incoming) {
  while (!router.receive(incoming)) {
    wire::WaitItem items[] = {{router.handle()}, {router.zap_handle()}};
    wire::wait({items, router.zap_handle() == nullptr ? 1u : 2u}, milliseconds(1000));
    router.authenticate();
  }
}

/// us of one frame from a ROUTER to a DEALER in another process and back; nobody spins, nothing is
/// encoded.  Arguments: bytes, tcp (else ipc), CURVE.
void round_trip(benchmark::State& state) {
  const bool curve = state.range(2) != 0;
  const wire::KeyPair server = *wire::make_keys(), agent = *wire::make_keys();
  std::optional<wire::ServerKeys> server_keys;
  std::optional<wire::ClientKeys> client_keys;
  if (curve) {
    server_keys = wire::ServerKeys{server.secret, {{agent.public_key, "echo"}}};
    client_keys = wire::ClientKeys{agent, server.public_key};
  }
  Child child([&](const std::string& endpoint) { echo_for_ever(endpoint, client_keys); });
  const test::TempFolder folder;
  const wire::Context context;
  const auto router =
      wire::Router::bind(context, endpoint_for(state.range(1) != 0, folder), server_keys, {});
  require(router.has_value(), "cannot bind");
  child.tell((*router)->endpoint());
  wire::Incoming incoming;
  await(**router, incoming);
  const wire::PeerId peer = incoming.peer;
  const std::vector<std::byte> sent(static_cast<std::size_t>(state.range(0)), std::byte{7});
  for (auto _ : state) {
    require((*router)->send(peer, sent) == wire::Sent::ok, "cannot send");
    await(**router, incoming);
  }
  const Bytes echo = incoming.frame.bytes();
  require(std::equal(echo.begin(), echo.end(), sent.begin(), sent.end()), "the echo is another");
}
BENCHMARK(round_trip)
    ->ArgNames({"bytes", "tcp", "curve"})
    ->ArgsProduct({{64, 1024, 128 << 10}, {0, 1}, {0, 1}})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

[[noreturn]] void serve_for_ever(const test::RandomExperts& weights,
                                 const test::FakeAgentOptions& options) {
  log::Config quiet;
  quiet.level = "error";
  log::start(quiet);
  const wire::Context context;
  const test::FakeAgent agent(context, weights, options);
  for (;;) ::pause();
}

struct Keys {
  wire::KeyPair server = *wire::make_keys();
  std::vector<wire::KeyPair> agents;
};

bsd::Selection choose(const bsd::Fleet& fleet, std::size_t rows) {
  bsd::Selection selection;
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t pick = 0; pick < 2; ++pick) {
      const auto expert = static_cast<std::uint16_t>((row + pick) % 4);
      selection.push_back(
          {static_cast<std::uint32_t>(row), expert, fleet.holders(0)[expert].front(), 0.5f});
    }
  return selection;
}

/// us of one exchange; with tiny experts (ffn 1), so that the transport is what is measured.
/// Arguments: agents, rows, tcp (else ipc), CURVE.  WDMOE_SPIN_US: both sides' spinning.
void exchange(benchmark::State& state) {
  const auto agents = static_cast<std::size_t>(state.range(0));
  const auto rows = static_cast<std::size_t>(state.range(1));
  const microseconds spin(number_from_environment("WDMOE_SPIN_US", 50));
  const test::RandomExperts weights(1, 4, kHidden, 1);
  bsd::FleetOptions options;
  const test::TempFolder folder;
  options.endpoint = endpoint_for(state.range(2) != 0, folder);
  options.spin = spin;
  Keys keys;
  for (std::size_t agent = 0; agent < agents; ++agent) keys.agents.push_back(*wire::make_keys());
  if (state.range(3) != 0) {
    options.keys = wire::ServerKeys{keys.server.secret, {}};
    for (std::size_t agent = 0; agent < agents; ++agent)
      options.keys->agents[keys.agents[agent].public_key] = "agent-" + std::to_string(agent);
  }
  std::vector<std::unique_ptr<Child>> children;  // before our threads exist
  for (std::size_t agent = 0; agent < agents; ++agent) {
    test::FakeAgentOptions fake;
    fake.name = "agent-" + std::to_string(agent);
    fake.experts = test::planned_experts(weights, agent, agents);
    fake.max_rows = 1024;
    fake.fast = true;
    fake.spin = spin;
    if (state.range(3) != 0)
      fake.keys = wire::ClientKeys{keys.agents[agent], keys.server.public_key};
    children.push_back(std::make_unique<Child>([&](const std::string& endpoint) {
      fake.endpoint = endpoint;
      serve_for_ever(weights, fake);
    }));
  }
  log::Config quiet;
  quiet.level = "error";
  log::start(quiet);
  const SteadyClock clock;
  const wire::Context context;
  auto fleet = bsd::Fleet::open(context, options, {"fake-model", 1, 4, kHidden}, clock);
  require(fleet.has_value(), fleet ? "" : fleet.error().text.c_str());
  for (const auto& child : children) child->tell((*fleet)->endpoint());
  for (int round = 0; round < 200 && !(*fleet)->complete(); ++round)
    (*fleet)->service(milliseconds(50), {});
  require((*fleet)->complete(), "not every agent came");

  const auto x = test::random_rows(rows, kHidden, 1);
  std::vector<float> y(x.size());
  const bsd::Selection selection = choose(**fleet, rows);
  bsd::StepCosts costs;
  for (auto _ : state) {
    auto done =
        (*fleet)->begin(0, selection, {x.data(), rows, kHidden}, {y.data(), rows, kHidden}, costs);
    if (done) done = (*fleet)->finish(costs);
    require(done.has_value(), done ? "" : done.error().text.c_str());
  }
  const auto micros = [&](Nanoseconds sum) {
    return benchmark::Counter(static_cast<double>(sum.count()) / 1e3,
                              benchmark::Counter::kAvgIterations);
  };
  state.counters["serialise_us"] = micros(costs.serialise);
  state.counters["wait_us"] = micros(costs.wire_wait);
  state.counters["combine_us"] = micros(costs.combine);
  const auto snapshot = (*fleet)->snapshot();
  Nanoseconds compute{0};
  for (const auto& agent : snapshot.agents) compute += agent.total;
  state.counters["agents_us"] = micros(compute);
}
BENCHMARK(exchange)
    ->ArgNames({"agents", "rows", "tcp", "curve"})
    ->ArgsProduct({{1, 2, 4}, {1, 128}, {0, 1}, {0, 1}})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
