#pragma once
// The five functions of cuBLAS that we call, by their C interface, which is the same in cuBLAS 11,
// 12 and 13.  Declared here because the driver's headers come with nvcc, cuBLAS's do not, and
// nothing of it is linked: api.cpp looks the names up at run time.

#include <cstddef>

struct cublasContext;
struct CUstream_st;

namespace wdmoe::cuda::cublas {

using Handle = cublasContext*;
using Status = int;  ///< cublasStatus_t
constexpr Status kSuccess = 0, kNotInitialized = 1, kInvalidValue = 7, kExecutionFailed = 13,
                 kNotSupported = 15;
constexpr int kOpN = 0, kOpT = 1;          ///< cublasOperation_t
constexpr int kReal32F = 0, kReal16F = 2;  ///< cudaDataType_t
constexpr int kCompute32F = 68;            ///< cublasComputeType_t
constexpr int kGemmDefault = -1;           ///< cublasGemmAlgo_t

using Create = Status(Handle*);
using Destroy = Status(Handle);
using SetStream = Status(Handle, CUstream_st*);
using SetWorkspace = Status(Handle, void*, std::size_t);
using GemmEx = Status(Handle, int trans_a, int trans_b, int m, int n, int k, const void* alpha,
                      const void* a, int type_a, int lda, const void* b, int type_b, int ldb,
                      const void* beta, void* c, int type_c, int ldc, int compute, int algorithm);

}  // namespace wdmoe::cuda::cublas
