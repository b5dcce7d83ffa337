#pragma once
// Which backend computes experts: settings in, a ready backend out.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "kernels/expert_backend.h"
#include "kernels/plugin.h"
#include "kernels/thread_pool.h"

namespace wdmoe::kernels {

struct BackendWish {
  std::string backend = "auto";  ///< "auto", "cuda", "cpu"
  std::string recovery = "cpu";  ///< after a failure of the GPU: "cpu" or "restart"
  std::filesystem::path plugins = plugin_folder();
};

struct BackendChoice {
  std::unique_ptr<ExpertBackend> backend;
  std::string why_not_cuda;  ///< where "auto" took the CPU
};

/// "cuda" that cannot be had is an error; "auto" takes the CPU then, also when the experts do not
/// fit the GPU.  `pool` outlives the backend; `report` is told of failures, now and later.
Result<BackendChoice> choose_backend(
    const BackendWish& wish, ThreadPool& pool,
    std::function<void(const Error& failure, const std::string& next)> report);

}  // namespace wdmoe::kernels
