#pragma once
// A received message in memory of ours, aligned to 64 bytes: libzmq hands out frames at any
// address, even odd ones, and FlatBuffers' verifier does not notice.  Grows, never shrinks: no
// allocation once it has held a message as large.

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "common/span.h"

namespace wdmoe::wire {

class Frame {
 public:
  static constexpr std::size_t kAlignment = 64;

  Bytes bytes() const { return {data_.get(), size_}; }

  void assign(const void* data, std::size_t size) {
    reserve(size);
    if (size > 0) std::memcpy(data_.get(), data, size);
    size_ = size;
  }
  void clear() { size_ = 0; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  void reserve(std::size_t size) {
    if (size <= capacity_) return;
    std::size_t wanted = capacity_ == 0 ? 4096 : capacity_;
    while (wanted < size) wanted *= 2;
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, wanted));
    if (memory == nullptr) throw std::bad_alloc();
    data_.reset(memory);
    capacity_ = wanted;
  }

  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace wdmoe::wire
