#pragma once
// Agents in threads of this process, with the reference backend: the real Store, Handler and Server
// over ipc:// or tcp:// (inproc:// tells no monitor of connections).

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/random_experts.h"
#include "wire/keys.h"
#include "wire/messages.h"
#include "wire/socket.h"

namespace wdmoe::test {

struct FakeAgentOptions {
  std::string endpoint;
  std::string name = "agent-0";
  std::string model_id = "fake-model";
  std::vector<ExpertId> experts;
  std::optional<wire::ClientKeys> keys;
  std::uint64_t instance = 0;  ///< 0: a number of its own
  std::uint32_t max_rows = 64;
  bool fast = false;  ///< the CPU backend instead of the reference
  microseconds spin{0};
  std::optional<milliseconds> watchdog;  ///< how often `alive` is called, on the agent's thread
  std::function<void()> alive = [] {};
};

/// One agent.  Stops (Goodbye and all) when destroyed.
class FakeAgent {
 public:
  /// `weights` and `context` outlive it.
  FakeAgent(const wire::Context& context, const RandomExperts& weights, FakeAgentOptions options);
  ~FakeAgent();
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The paper's plan: expert k of every layer on agent k mod `agents`.
std::vector<ExpertId> planned_experts(const RandomExperts& weights, std::size_t agent,
                                      std::size_t agents);

/// `count` agents "agent-0" … that share the experts by that plan.
class FakeFleet {
 public:
  FakeFleet(const wire::Context& context, const RandomExperts& weights, std::size_t count,
            FakeAgentOptions like);
  void stop(std::size_t agent) { agents_.at(agent).reset(); }

 private:
  std::vector<std::unique_ptr<FakeAgent>> agents_;
};

/// The Hello such an agent says.
wire::Hello hello_of(const RandomExperts& weights, const FakeAgentOptions& options);

}  // namespace wdmoe::test
