#pragma once
// Streams of random numbers: one per purpose, so that what one part of the simulator draws never
// changes another's, and equal seeds mean equal cells and texts under every policy.

#include <cstddef>
#include <cstdint>
#include <random>

namespace wdmoe::sim {

enum class Stream : std::uint32_t { devices = 1, fading, jitter, mobility, popularity, gate, air };

inline std::mt19937_64 random_stream(std::uint64_t seed, Stream stream) {
  std::seed_seq sequence{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                         static_cast<std::uint32_t>(stream)};
  return std::mt19937_64(sequence);
}

/// One of many of a kind.
inline std::mt19937_64 random_stream(std::uint64_t seed, Stream stream, std::size_t index) {
  std::seed_seq sequence{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                         static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(index)};
  return std::mt19937_64(sequence);
}

}  // namespace wdmoe::sim
