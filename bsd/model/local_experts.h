#pragma once
// Experts in this process: the whole model on one machine (`--model DIR`, checks, baselines).

#include <memory>

#include "bsd/model/model_config.h"
#include "bsd/moe/expert_runner.h"
#include "common/result.h"
#include "kernels/expert_backend.h"
#include "weights/checkpoint.h"

namespace wdmoe::bsd {

/// Loads every expert of the checkpoint into `backend`, which outlives the runner and must not run
/// after it (the runner keeps the files mapped).  Device 0 holds all.
Result<std::unique_ptr<ExpertRunner>> make_local_experts(const weights::Checkpoint& checkpoint,
                                                         const ModelConfig& config,
                                                         kernels::ExpertBackend& backend);

}  // namespace wdmoe::bsd
