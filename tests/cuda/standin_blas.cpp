// cuBLAS of the stand-in: products in f32 on the CPU, operands checked against live allocations.

#include <algorithm>

#include "common/tensor.h"
#include "kernels/cuda/cublas_abi.h"
#include "tests/cuda/standin.h"

using namespace wdmoe::standin;
namespace cublas = wdmoe::cuda::cublas;
using cublas::Status;
using Lock = std::lock_guard<std::recursive_mutex>;

struct cublasContext {
  static constexpr unsigned kLive = 0xB1A5;
  unsigned state = kLive;
  CUstream stream = nullptr;
  bool has_workspace = false;
};

namespace {

Status enter_blas(const char* name, cublas::Handle handle) {
  if (handle == nullptr || handle->state != cublasContext::kLive)
    die(std::string(name) + ": not a live handle");
  if (device().sticky != CUDA_SUCCESS) return cublas::kExecutionFailed;
  return fault_of(name);
}

/// Bytes from the first to the last element of a column-major matrix.
std::size_t extent(int leading, int rows, int cols, std::size_t element) {
  return (static_cast<std::size_t>(leading) * static_cast<std::size_t>(cols - 1) +
          static_cast<std::size_t>(rows)) *
         element;
}

struct Product {
  int m, n, k;
  bool transposed;
  const std::uint16_t *a, *b;
  int lda, ldb, ldc;
  float* c;

  void run() const {
    const auto at = [](int row, int col, int leading) {
      return static_cast<std::size_t>(col) * static_cast<std::size_t>(leading) +
             static_cast<std::size_t>(row);
    };
    for (int col = 0; col < n; ++col)
      for (int row = 0; row < m; ++row) {
        float sum = 0;
        for (int i = 0; i < k; ++i)
          sum += wdmoe::float_from_f16(a[transposed ? at(i, row, lda) : at(row, i, lda)]) *
                 wdmoe::float_from_f16(b[at(i, col, ldb)]);
        c[at(row, col, ldc)] = sum;
      }
  }
};

}  // namespace

extern "C" {
#pragma GCC visibility push(default)

Status cublasCreate_v2(cublas::Handle* handle) {
  const Lock lock(device().mutex);
  if (enter("cublasCreate_v2") != CUDA_SUCCESS) return cublas::kNotInitialized;
  *handle = new cublasContext;
  ++device().handles;
  return cublas::kSuccess;
}

Status cublasDestroy_v2(cublas::Handle handle) {
  const Lock lock(device().mutex);
  if (const Status error = enter_blas("cublasDestroy_v2", handle)) return error;
  handle->state = 0;
  delete handle;
  --device().handles;
  return cublas::kSuccess;
}

Status cublasSetStream_v2(cublas::Handle handle, CUstream stream) {
  const Lock lock(device().mutex);
  if (const Status error = enter_blas("cublasSetStream_v2", handle)) return error;
  static_cast<void>(stream_of(stream));
  handle->stream = stream;
  handle->has_workspace = false;  // as documented: setting the stream resets the workspace
  return cublas::kSuccess;
}

Status cublasSetWorkspace_v2(cublas::Handle handle, void* workspace, std::size_t bytes) {
  const Lock lock(device().mutex);
  if (const Status error = enter_blas("cublasSetWorkspace_v2", handle)) return error;
  check_range(workspace, bytes, "cublasSetWorkspace");
  handle->has_workspace = true;
  return cublas::kSuccess;
}

Status cublasGemmEx(cublas::Handle handle, int trans_a, int trans_b, int m, int n, int k,
                    const void* alpha, const void* a, int type_a, int lda, const void* b,
                    int type_b, int ldb, const void* beta, void* c, int type_c, int ldc,
                    int compute, int algorithm) {
  const Lock lock(device().mutex);
  if (const Status error = enter_blas("cublasGemmEx", handle)) return error;
  const bool transposed = trans_a == cublas::kOpT;
  if (m < 1 || n < 1 || k < 1 || lda < (transposed ? k : m) || ldb < k || ldc < m)
    return cublas::kInvalidValue;
  if (type_a != cublas::kReal16F || type_b != cublas::kReal16F || type_c != cublas::kReal32F ||
      compute != cublas::kCompute32F || trans_b != cublas::kOpN ||
      algorithm != cublas::kGemmDefault || *static_cast<const float*>(alpha) != 1 ||
      *static_cast<const float*>(beta) != 0)
    return cublas::kNotSupported;
  if (!handle->has_workspace) die("cublasGemmEx would allocate its own workspace");
  check_range(a, extent(lda, transposed ? k : m, transposed ? m : k, 2), "cublasGemmEx: A");
  check_range(b, extent(ldb, k, n, 2), "cublasGemmEx: B");
  check_range(c, extent(ldc, m, n, 4), "cublasGemmEx: C");
  ++device().counters.products;
  const Product product{m,
                        n,
                        k,
                        transposed,
                        static_cast<const std::uint16_t*>(a),
                        static_cast<const std::uint16_t*>(b),
                        lda,
                        ldb,
                        ldc,
                        static_cast<float*>(c)};
  enqueue(stream_of(handle->stream), [product] {
    product.run();
    return CUDA_SUCCESS;
  });
  return cublas::kSuccess;
}

#pragma GCC visibility pop
}  // extern "C"
