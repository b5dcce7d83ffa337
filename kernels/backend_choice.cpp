#include "kernels/backend_choice.h"

#include <utility>

#include "kernels/failover_backend.h"

namespace wdmoe::kernels {

Result<BackendChoice> choose_backend(
    const BackendWish& wish, ThreadPool& pool,
    std::function<void(const Error& failure, const std::string& next)> report) {
  const auto make_cpu = [&pool] { return make_cpu_backend(pool); };
  if (wish.backend == "cpu") return BackendChoice{make_cpu(), {}};

  const auto make_first = [folder = wish.plugins] { return make_plugin_backend(folder, "cuda"); };
  auto first = make_first();
  if (!first && wish.backend == "cuda") return fail("backend = \"cuda\"", first.error());
  if (!first) return BackendChoice{make_cpu(), first.error().text};
  FailoverOptions options;
  options.make_first = make_first;
  options.make_cpu = make_cpu;
  options.recovery = wish.recovery == "restart" ? Recovery::restart : Recovery::cpu;
  options.cpu_at_start = wish.backend == "auto";
  options.report = std::move(report);
  return BackendChoice{make_failover_backend(std::move(*first), std::move(options)), {}};
}

}  // namespace wdmoe::kernels
