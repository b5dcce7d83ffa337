#pragma once
// Working memory that only grows: after the largest call was seen, no call allocates.

#include <cstddef>
#include <new>

namespace wdmoe::kernels {

class Scratch {
 public:
  static constexpr std::size_t kAlignment = 64;  ///< a cache line, and an AVX-512 vector

  Scratch() = default;
  ~Scratch() { release(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// Room for `floats`; what was there before is lost when it grows.  Throws std::bad_alloc.
  float* at_least(std::size_t floats) {
    if (floats > size_) {
      release();
      data_ = static_cast<float*>(
          ::operator new (floats * sizeof(float), std::align_val_t{kAlignment}));
      size_ = floats;
    }
    return data_;
  }

  float* data() const { return data_; }

 private:
  void release() {
    ::operator delete (data_, std::align_val_t{kAlignment});
    data_ = nullptr;
    size_ = 0;
  }

  float* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace wdmoe::kernels
