#pragma once
// What one thread of this machine can do at best, measured: the bounds that benchmarks report
// ratios to.  Not on a token's way.

#include <cstddef>

namespace wdmoe::kernels {

/// Bytes per second at which one thread reads a fresh region of `bytes` (use several times the
/// last-level cache) with vector loads and nothing else; the best of several passes.
double measure_read_rate(std::size_t bytes);

/// f32 operations per second (a fused multiply-add counts two) of independent fused multiply-adds
/// on registers, one thread; the best of several runs.
double measure_flop_rate();

}  // namespace wdmoe::kernels
