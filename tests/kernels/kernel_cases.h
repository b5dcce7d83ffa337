#pragma once
// What the kernel tests share: seeded numbers, weights at unaligned addresses, every instruction
// set of this machine in turn, and error bounds.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "common/tensor.h"

namespace wdmoe::kernels {

constexpr double kEpsilon = 0x1p-24;     ///< half a unit in the last place of f32, relative
constexpr double kBf16Epsilon = 0x1p-8;  ///< the same of bf16: 8 significant bits

/// Calls `check(name)` once for every instruction set that was compiled in and that this machine
/// has, with the kernels switched to it.
void for_each_target(const std::function<void(const char* name)>& check);

/// Uniform in [-1, 1).
std::vector<float> random_floats(std::size_t count, std::mt19937& random);

/// A matrix [rows, cols] of `dtype` whose first byte lies `offset` bytes after an aligned address,
/// with guard bytes at both ends for the sanitizer to watch.
class OwnedTensor {
 public:
  OwnedTensor(std::size_t rows, std::size_t cols, DType dtype, std::size_t offset,
              std::mt19937& random);
  Tensor view() const;
  MutableTensor writable();

 private:
  std::vector<std::byte> bytes_;
  std::size_t rows_, cols_, offset_;
  DType dtype_;
};

/// Largest |a - b| / bound over a row-major pair; > 1 fails the caller's CHECK.
class WorstError {
 public:
  void see(double actual, double expected, double bound);
  double ratio() const { return worst_; }

 private:
  double worst_ = 0;
};

}  // namespace wdmoe::kernels
