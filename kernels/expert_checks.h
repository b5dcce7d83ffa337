#pragma once
// What every expert backend asks of its arguments before it computes; one-line errors.

#include <cstddef>

#include "kernels/expert_backend.h"

namespace wdmoe::kernels {

/// Upper bound of hidden and ffn: far above any published model, small enough that no product of
/// two extents and an element size overflows 64 bits.
constexpr std::size_t kMaxExpertExtent = std::size_t{1} << 20;

/// Shapes of one expert fit each other, and `hidden` of those loaded before (0: none yet).
Result<void> check_expert(const ExpertWeights& weights, std::size_t hidden);

/// Handles and rows exist and the shapes of `in` and `out` are [rows, hidden].
Result<void> check_work(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                        std::size_t experts, std::size_t hidden);

}  // namespace wdmoe::kernels
