// What the CUDA plug-in exports.

#include "kernels/plugin.h"

#include "kernels/cuda/cuda_backend.h"

extern "C" __attribute__((visibility("default")))
const wdmoe::kernels::PluginEntry wdmoe_plugin{WDMOE_VERSION, wdmoe::cuda::make_cuda_backend};
