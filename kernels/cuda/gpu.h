#pragma once
// One opened GPU: context, stream, kernels, cuBLAS, and memory that frees itself.  Used by one
// thread at a time; use() binds it to the calling one.

#include <array>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "kernels/cuda/api.h"
#include "kernels/cuda/expert_kernels.h"

namespace wdmoe::cuda {

/// A handle of CUDA that is given back once.
template <class Handle, class Answer = CUresult>
class Owned {
 public:
  using Destroy = Answer (*)(Handle);
  Owned() = default;
  Owned(Handle handle, Destroy destroy) : handle_(handle), destroy_(destroy) {}
  Owned(Owned&& other) noexcept
      : handle_(std::exchange(other.handle_, Handle{})), destroy_(other.destroy_) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  ~Owned() { reset(); }

  Handle get() const { return handle_; }
  void reset() {
    // A failure means that the context broke before, and took the handle with it.
    if (handle_ != Handle{}) static_cast<void>(destroy_(std::exchange(handle_, Handle{})));
  }

 private:
  Handle handle_{};
  Destroy destroy_ = nullptr;
};

/// Memory of the device.
struct DeviceMemory {
  Owned<CUdeviceptr> owned;
  std::size_t bytes = 0;

  template <class T>
  T* as(std::size_t offset_bytes = 0) const {
    return reinterpret_cast<T*>(owned.get() + offset_bytes);
  }
};

/// Page-locked memory of the host; on a GPU that shares the host's memory the device reads and
/// writes it in place (`device` is its address there), else device is 0.
struct PinnedMemory {
  Owned<void*> owned;
  CUdeviceptr device = 0;
  std::size_t bytes = 0;

  std::byte* data() const { return static_cast<std::byte*>(owned.get()); }
};

template <class Kernel, class... All>
constexpr std::size_t number_of(KernelList<All...>) {
  std::size_t number = 0;
  static_cast<void>(((std::is_same_v<Kernel, All> || (++number, false)) || ...));
  return number;
}

class Gpu {
 public:
  Gpu() = default;
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  /// Opens the first GPU.  Errors: no driver, library or device, one that is too old (unavailable).
  Result<void> open();

  bool opened() const { return blas_.get() != nullptr; }

  /// Makes the calling thread work with this GPU.
  Result<void> use() const { return api_.check(api_.cuCtxSetCurrent(context_), "cuCtxSetCurrent"); }

  const Api& api() const { return api_; }
  CUstream stream() const { return stream_.get(); }
  cublas::Handle blas() const { return blas_.get(); }
  bool shares_memory() const { return integrated_; }
  /// "NVIDIA H100 (sm_90, CUDA 12.6, libcublas.so.12)"
  const std::string& description() const { return description_; }

  /// `limit` if there is not enough memory; says how much was asked for and how much is free.
  Result<DeviceMemory> allocate(std::size_t bytes, const char* what) const;
  Result<PinnedMemory> allocate_pinned(std::size_t bytes, const char* what) const;

  /// Waits for all that was put on the stream.
  Result<void> finish() const;

  /// Enqueues a kernel over groups [groups_x, groups_y].
  template <class Kernel>
  Result<void> launch(typename Kernel::Args args, std::size_t groups_x, std::size_t groups_y) const;

 private:
  Result<void> open_device();
  Result<void> open_kernels();
  Result<void> launch(CUfunction function, const char* name, void* args, std::size_t blocks_x,
                      std::size_t blocks_y) const;

  Api api_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  bool integrated_ = false;
  std::string description_;
  Owned<CUstream> stream_;
  Owned<CUevent> done_;
  Owned<CUmodule> module_;
  DeviceMemory workspace_;
  Owned<cublas::Handle, cublas::Status> blas_;
  std::array<CUfunction, kKernels> functions_{};  ///< in the order of ExpertKernels
};

template <class Kernel>
Result<void> Gpu::launch(typename Kernel::Args args, std::size_t groups_x,
                         std::size_t groups_y) const {
  constexpr std::size_t kGroups = kBlockLanes / Kernel::kLanes;  // of a block
  return launch(functions_[number_of<Kernel>(ExpertKernels{})], Kernel::kName, &args,
                (groups_x + kGroups - 1) / kGroups, groups_y);
}

}  // namespace wdmoe::cuda
