#pragma once
// Experts that go on after their hardware broke: a backend in front, and what takes over when it
// fails.  The message that met the failure gets an error by name, never a wrong number; the next
// one finds the successor at work.

#include <functional>
#include <memory>
#include <string>

#include "kernels/expert_backend.h"

namespace wdmoe::kernels {

/// What follows a failure while computing.
enum class Recovery {
  cpu,      ///< the CPU computes from here on
  restart,  ///< the backend is made and loaded again, kMostRestarts times; then the CPU
};
constexpr int kMostRestarts = 3;  ///< hardware that fails more often is not going to work

struct FailoverOptions {
  std::function<Result<std::unique_ptr<ExpertBackend>>()> make_first;
  std::function<std::unique_ptr<ExpertBackend>()> make_cpu;
  Recovery recovery = Recovery::cpu;
  bool cpu_at_start = false;  ///< also when experts do not load, or no room can be reserved
  /// Told of every failure and of what is done about it: "continuing on the CPU".
  std::function<void(const Error& failure, const std::string& next)> report;
};

/// `first`: what make_first() made.  The memory behind loaded weights outlives the backend, also
/// where the first one copies them.
std::unique_ptr<ExpertBackend> make_failover_backend(std::unique_ptr<ExpertBackend> first,
                                                     FailoverOptions options);

}  // namespace wdmoe::kernels
