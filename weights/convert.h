#pragma once
// Weights from one dtype to another, with an account of what did not fit.

#include <cstddef>
#include <cstdint>

#include "common/tensor.h"

namespace wdmoe::weights {

struct ConversionCounts {
  std::uint64_t saturated = 0;   ///< finite, but too large: became the largest finite value
  std::uint64_t flushed = 0;     ///< not zero, but became zero
  std::uint64_t not_finite = 0;  ///< infinite or NaN in the source; kept so
};

/// `count` elements at `from` (any alignment) to `to`, rounded to nearest even; adds to `counts`.
/// Equal dtypes are copied bit by bit and counted only if not finite.
void convert(const std::byte* from, DType from_dtype, std::byte* to, DType to_dtype,
             std::size_t count, ConversionCounts& counts);

}  // namespace wdmoe::weights
