#pragma once
// Experts on an NVIDIA GPU.  One message is in flight at a time, on one stream: rows and tables go
// up in one copy, kernels and products follow, the sums come down in one copy, and the host waits
// once, for one event.  On a GPU that shares the host's memory there are no copies.

#include <memory>

#include "kernels/expert_backend.h"

namespace wdmoe::cuda {

/// Errors (unavailable): no usable driver, library or GPU; the text says which.
Result<std::unique_ptr<kernels::ExpertBackend>> make_cuda_backend();

}  // namespace wdmoe::cuda
