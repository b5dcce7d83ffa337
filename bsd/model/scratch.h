#pragma once
// Working memory that a step uses again: grows to the largest shape asked for, never shrinks.

#include <vector>

#include "common/tensor.h"

namespace wdmoe::bsd {

class Scratch {
 public:
  /// [rows, cols], contents undefined; valid until the next call.  Allocates only when it must
  /// grow.
  Matrix<float> matrix(std::size_t rows, std::size_t cols) {
    if (values_.size() < rows * cols) values_.resize(rows * cols);
    return {values_.data(), rows, cols};
  }

 private:
  std::vector<float> values_;
};

}  // namespace wdmoe::bsd
