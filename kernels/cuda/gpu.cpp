#include "kernels/cuda/gpu.h"

#include <string>

/// The kernels as PTX text, ended by a zero; made by nvcc at build time.
extern "C" const char wdmoe_expert_kernels_ptx[];

namespace wdmoe::cuda {
namespace {

constexpr int kOldestArchitecture = 80;                        // Ampere: what the PTX is for
constexpr std::size_t kWorkspaceBytes = std::size_t{8} << 20;  // cuBLAS allocates nothing later

std::string amount(std::size_t bytes) {
  return std::to_string(bytes >> 20) + "." + std::to_string((bytes >> 10) % 1024 * 10 / 1024) +
         " MiB";
}

template <class... Kernels>
Result<void> find_all(const Api& api, CUmodule module, std::array<CUfunction, kKernels>& functions,
                      KernelList<Kernels...>) {
  static_assert(sizeof...(Kernels) == kKernels, "kKernels counts ExpertKernels");
  std::size_t number = 0;
  Result<void> found;
  static_cast<void>(
      ((found = api.check(api.cuModuleGetFunction(&functions[number++], module, Kernels::kName),
                          Kernels::kName)) &&
       ...));
  return found;
}

}  // namespace

Gpu::~Gpu() {
  blas_.reset();
  workspace_ = {};
  module_.reset();
  done_.reset();
  stream_.reset();
  // The last release destroys the context, and with it an error that sticks to it.
  if (context_ != nullptr) static_cast<void>(api_.cuDevicePrimaryCtxRelease(device_));
}

Result<void> Gpu::open() {
  auto api = open_api();
  if (!api) return tl::unexpected(api.error());
  api_ = std::move(*api);
  WDMOE_TRY(open_device());
  return open_kernels();
}

Result<void> Gpu::open_device() {
  WDMOE_TRY(api_.check(api_.cuInit(0), "cuInit"));
  int devices = 0;
  WDMOE_TRY(api_.check(api_.cuDeviceGetCount(&devices), "cuDeviceGetCount"));
  if (devices < 1) return fail(Code::unavailable, "cuda: the driver sees no GPU");
  WDMOE_TRY(api_.check(api_.cuDeviceGet(&device_, 0), "cuDeviceGet"));

  int major = 0, minor = 0, integrated = 0, maps = 0;
  const auto ask = [&](int& value, CUdevice_attribute attribute) {
    return api_.check(api_.cuDeviceGetAttribute(&value, attribute, device_),
                      "cuDeviceGetAttribute");
  };
  WDMOE_TRY(ask(major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
  WDMOE_TRY(ask(minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
  WDMOE_TRY(ask(integrated, CU_DEVICE_ATTRIBUTE_INTEGRATED));
  WDMOE_TRY(ask(maps, CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY));
  integrated_ = integrated != 0 && maps != 0;
  char name[256] = {};
  WDMOE_TRY(api_.check(api_.cuDeviceGetName(name, sizeof name - 1, device_), "cuDeviceGetName"));
  const int architecture = major * 10 + minor;
  description_ = std::string(name) + " (sm_" + std::to_string(architecture) + ", CUDA " +
                 std::to_string(api_.driver_version / 1000) + "." +
                 std::to_string(api_.driver_version % 1000 / 10) + ", " + api_.cublas_soname + ")";
  if (architecture < kOldestArchitecture)
    return fail(Code::unavailable,
                "cuda: " + description_ + ": expected sm_80 (Ampere, Jetson Orin) or later");
  return api_.check(api_.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

Result<void> Gpu::open_kernels() {
  WDMOE_TRY(use());
  CUstream stream = nullptr;
  WDMOE_TRY(api_.check(api_.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate"));
  stream_ = {stream, api_.cuStreamDestroy};
  CUevent done = nullptr;
  WDMOE_TRY(api_.check(api_.cuEventCreate(&done, CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC),
                       "cuEventCreate"));
  done_ = {done, api_.cuEventDestroy};

  CUmodule module = nullptr;
  WDMOE_TRY(api_.check(api_.cuModuleLoadData(&module, wdmoe_expert_kernels_ptx),
                       "cuModuleLoadData of the expert kernels"));
  module_ = {module, api_.cuModuleUnload};
  WDMOE_TRY(find_all(api_, module, functions_, ExpertKernels{}));

  cublas::Handle blas = nullptr;
  WDMOE_TRY(Api::check_cublas(api_.cublasCreate_v2(&blas), "cublasCreate_v2"));
  blas_ = {blas, api_.cublasDestroy_v2};
  WDMOE_TRY(Api::check_cublas(api_.cublasSetStream_v2(blas, stream), "cublasSetStream_v2"));
  auto workspace = allocate(kWorkspaceBytes, "cuBLAS");
  if (!workspace) return tl::unexpected(workspace.error());
  workspace_ = std::move(*workspace);
  return Api::check_cublas(
      api_.cublasSetWorkspace_v2(blas, workspace_.as<void>(), workspace_.bytes),
      "cublasSetWorkspace_v2");
}

Result<DeviceMemory> Gpu::allocate(std::size_t bytes, const char* what) const {
  CUdeviceptr address = 0;
  const CUresult result = api_.cuMemAlloc(&address, bytes);
  if (result == CUDA_SUCCESS) return DeviceMemory{{address, api_.cuMemFree}, bytes};
  std::size_t unused = 0, total = 0;
  static_cast<void>(api_.cuMemGetInfo(&unused, &total));
  const std::string why = std::string("memory for ") + what + ": " + amount(bytes) + " wanted, " +
                          amount(unused) + " of " + amount(total) + " free";
  return tl::unexpected(api_.check(result, why.c_str()).error());
}

Result<PinnedMemory> Gpu::allocate_pinned(std::size_t bytes, const char* what) const {
  void* address = nullptr;
  const unsigned flags = integrated_ ? CU_MEMHOSTALLOC_DEVICEMAP : 0;
  WDMOE_TRY(api_.check(api_.cuMemHostAlloc(&address, bytes, flags), what));
  PinnedMemory memory{{address, api_.cuMemFreeHost}, 0, bytes};
  if (integrated_)
    WDMOE_TRY(api_.check(api_.cuMemHostGetDevicePointer(&memory.device, address, 0), what));
  return memory;
}

Result<void> Gpu::finish() const {
  WDMOE_TRY(api_.check(api_.cuEventRecord(done_.get(), stream_.get()), "cuEventRecord"));
  return api_.check(api_.cuEventSynchronize(done_.get()), "computing");
}

Result<void> Gpu::launch(CUfunction function, const char* name, void* args, std::size_t blocks_x,
                         std::size_t blocks_y) const {
  void* parameters[] = {args};
  return api_.check(api_.cuLaunchKernel(function, static_cast<unsigned>(blocks_x),
                                        static_cast<unsigned>(blocks_y), 1, kBlockLanes, 1, 1, 0,
                                        stream_.get(), parameters, nullptr),
                    name);
}

}  // namespace wdmoe::cuda
