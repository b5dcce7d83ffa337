// Kernels and graphs of the stand-in: the loaded PTX says which kernels there are and what they
// take; the bodies are those of kernels/cuda/expert_kernels.h.

#include <cstdlib>
#include <cstring>
#include <utility>

#include "kernels/cuda/expert_kernels.h"
#include "tests/cuda/host_launch.h"
#include "tests/cuda/standin.h"

namespace wdmoe::standin {

/// A kernel that the loaded PTX holds and we have the body of.
struct Function {
  std::string name;
  std::size_t parameter_bytes = 0;
};

struct Module {
  std::map<std::string, Function> functions;
};

namespace {

template <class Kernel>
Work bind(const void* parameters, unsigned blocks_x, unsigned blocks_y) {
  typename Kernel::Args args;
  std::memcpy(&args, parameters, sizeof args);
  return [args, blocks_x, blocks_y] {
    const auto error = static_cast<CUresult>(fault_of(Kernel::kName));
    if (error == CUDA_SUCCESS)
      cuda::test::launch<Kernel>(args, blocks_x * (cuda::kBlockLanes / Kernel::kLanes), blocks_y);
    return error;
  };
}

template <class... Kernels>
Work bind_by_name(const Function& function, const void* parameters, unsigned blocks_x,
                  unsigned blocks_y, cuda::KernelList<Kernels...>) {
  Work work;
  const auto consider = [&](const char* name, std::size_t bytes, auto make) {
    if (function.name != name) return;
    if (function.parameter_bytes != bytes)
      die(function.name + ": the PTX takes " + std::to_string(function.parameter_bytes) +
          " bytes of parameters, the host gives " + std::to_string(bytes));
    work = make(parameters, blocks_x, blocks_y);
  };
  (consider(Kernels::kName, sizeof(typename Kernels::Args), bind<Kernels>), ...);
  if (!work) die(function.name + ": no such kernel on the host");
  return work;
}

/// Names and parameter sizes of a PTX text: ".entry NAME(" … ".b8 NAME_param_0[BYTES]".
std::map<std::string, Function> parse_ptx(const char* text) {
  std::map<std::string, Function> functions;
  for (const char* at = text; (at = std::strstr(at, ".entry ")) != nullptr;) {
    at += std::strlen(".entry ");
    Function function;
    function.name.assign(at, std::strcspn(at, "( \n"));
    const std::string parameter = function.name + "_param_0[";
    const char* size = std::strstr(at, parameter.c_str());
    if (size == nullptr) die(function.name + ": expected one parameter in the PTX");
    function.parameter_bytes = std::strtoul(size + parameter.size(), nullptr, 10);
    functions.emplace(function.name, function);
  }
  return functions;
}

}  // namespace
}  // namespace wdmoe::standin

using namespace wdmoe::standin;

extern "C" {

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  WDMOE_ENTER("cuModuleLoadData");
  const auto* text = static_cast<const char*>(image);
  if (std::strstr(text, "\n.version 7.8\n") == nullptr) return CUDA_ERROR_INVALID_IMAGE;
  auto* made = new Module{parse_ptx(text)};
  device().modules.insert(made);
  *module = reinterpret_cast<CUmodule>(made);
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
  WDMOE_ENTER("cuModuleUnload");
  destroy(device().modules, module, "cuModuleUnload");
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  WDMOE_ENTER("cuModuleGetFunction");
  Module& in = live(device().modules, module, "cuModuleGetFunction");
  const auto found = in.functions.find(name);
  if (found == in.functions.end()) return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(&found->second);
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared, CUstream stream,
                        void** parameters, void** extra) {
  WDMOE_ENTER("cuLaunchKernel");
  if (x == 0 || y == 0 || y > 65'535 || z != 1 || block_x != wdmoe::cuda::kBlockLanes ||
      block_y != 1 || block_z != 1 || shared != 0 || extra != nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  Stream& on = stream_of(stream);
  if (on.capturing == nullptr) ++device().counters.launches;
  enqueue(on, bind_by_name(*reinterpret_cast<const Function*>(function), parameters[0], x, y,
                           wdmoe::cuda::ExpertKernels{}));
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode) {
  WDMOE_ENTER("cuStreamBeginCapture");
  Stream& on = stream_of(stream);
  if (on.capturing != nullptr) die("a stream is captured twice");
  on.capturing = new Graph;
  device().graphs.insert(on.capturing);
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  const std::lock_guard<std::recursive_mutex> lock(device().mutex);
  Stream& on = stream_of(stream);
  if (on.capturing == nullptr) die("the end of a capture that never began");
  Graph* made = std::exchange(on.capturing, nullptr);
  if (const CUresult error = enter("cuStreamEndCapture")) {  // it ends all the same
    destroy(device().graphs, made, "cuStreamEndCapture");
    return error;
  }
  *graph = reinterpret_cast<CUgraph>(made);
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
  WDMOE_ENTER("cuGraphInstantiateWithFlags");
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  auto* made = new Graph(live(device().graphs, graph, "cuGraphInstantiateWithFlags"));
  device().executables.insert(made);
  *exec = reinterpret_cast<CUgraphExec>(made);
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  WDMOE_ENTER("cuGraphLaunch");
  ++device().counters.graph_launches;
  for (const Work& work : live(device().executables, exec, "cuGraphLaunch").work)
    enqueue(stream_of(stream), work);
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  WDMOE_ENTER("cuGraphDestroy");
  destroy(device().graphs, graph, "cuGraphDestroy");
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  WDMOE_ENTER("cuGraphExecDestroy");
  destroy(device().executables, exec, "cuGraphExecDestroy");
  return CUDA_SUCCESS;
}

}  // extern "C"
