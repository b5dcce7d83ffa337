#pragma once
// The CUDA driver and cuBLAS as tables of functions, opened at run time: nothing of CUDA is linked,
// so one plug-in runs on JetPack 6 (CUDA 12.6), JetPack 7 (13) and desktops from CUDA 11.8 on, and
// loads (to say what is missing) where there is no CUDA at all.

#include <string>

#include <cuda.h>

#include "common/result.h"
#include "kernels/cuda/cublas_abi.h"

namespace wdmoe::cuda {

// cuda.h maps some of these to versioned symbols (cuMemAlloc_v2); all of those exist since CUDA
// 11.1.  Left out are names that cuda.h 13 maps to what older drivers lack (cuCtxCreate,
// cuEventElapsedTime, cuGraphInstantiate) and what Jetsons lack (NVML, memory pools).
#define WDMOE_CUDA_FUNCTIONS(X)  \
  X(cuInit)                      \
  X(cuDriverGetVersion)          \
  X(cuGetErrorName)              \
  X(cuDeviceGet)                 \
  X(cuDeviceGetCount)            \
  X(cuDeviceGetName)             \
  X(cuDeviceGetAttribute)        \
  X(cuDevicePrimaryCtxRetain)    \
  X(cuDevicePrimaryCtxRelease)   \
  X(cuCtxSetCurrent)             \
  X(cuMemGetInfo)                \
  X(cuMemAlloc)                  \
  X(cuMemFree)                   \
  X(cuMemHostAlloc)              \
  X(cuMemFreeHost)               \
  X(cuMemHostGetDevicePointer)   \
  X(cuMemcpyHtoDAsync)           \
  X(cuMemcpyDtoHAsync)           \
  X(cuStreamCreate)              \
  X(cuStreamDestroy)             \
  X(cuStreamBeginCapture)        \
  X(cuStreamEndCapture)          \
  X(cuEventCreate)               \
  X(cuEventDestroy)              \
  X(cuEventRecord)               \
  X(cuEventSynchronize)          \
  X(cuModuleLoadData)            \
  X(cuModuleUnload)              \
  X(cuModuleGetFunction)         \
  X(cuLaunchKernel)              \
  X(cuGraphInstantiateWithFlags) \
  X(cuGraphLaunch)               \
  X(cuGraphDestroy)              \
  X(cuGraphExecDestroy)

#define WDMOE_CUBLAS_FUNCTIONS(X)        \
  X(cublasCreate_v2, Create)             \
  X(cublasDestroy_v2, Destroy)           \
  X(cublasSetStream_v2, SetStream)       \
  X(cublasSetWorkspace_v2, SetWorkspace) \
  X(cublasGemmEx, GemmEx)

// The macros of cuda.h replace a function's name also where it names a member: both places agree.
struct Api {
#define WDMOE_MEMBER(name) decltype(&::name) name = nullptr;
  WDMOE_CUDA_FUNCTIONS(WDMOE_MEMBER)
#undef WDMOE_MEMBER
#define WDMOE_MEMBER(name, Type) cublas::Type* name = nullptr;
  WDMOE_CUBLAS_FUNCTIONS(WDMOE_MEMBER)
#undef WDMOE_MEMBER
  int driver_version = 0;     ///< 12060: CUDA 12.6
  std::string cublas_soname;  ///< "libcublas.so.12"

  /// Error `unavailable` that names the call and CUDA's word for what happened; `limit` when
  /// memory ran out.
  Result<void> check(CUresult result, const char* what) const;
  static Result<void> check_cublas(cublas::Status status, const char* what);
};

/// Opens libcuda.so.1 and the newest libcublas.so.N that the driver can serve.  The libraries stay
/// open for the life of the process.  Errors (unavailable) say which library or function is
/// missing.
Result<Api> open_api();

}  // namespace wdmoe::cuda
