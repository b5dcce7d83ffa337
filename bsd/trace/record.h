#pragma once
// What a trace holds: gate probabilities and selections, per layer and row, as values.  A trace is
// recorded on the engine thread (writer.h) and read by the simulator and the tools (reader.h).

#include <cstddef>
#include <cstdint>
#include <string>

#include "bsd/moe/selection.h"
#include "bsd/moe/witness.h"
#include "common/span.h"
#include "common/tensor.h"

namespace wdmoe::bsd::trace {

/// Which model was traced.
struct Header {
  std::string model_id;
  std::size_t layers = 0, experts = 0;  ///< experts of a layer
  std::size_t top_k = 0;                ///< of a token, as the model was trained
};

using Run = RowRun;

/// One layer's decision for some rows of one forward pass.  Views; whoever hands it out says how
/// long they hold.
struct Record {
  std::uint64_t step = 0;  ///< forward pass
  std::size_t layer = 0;
  Span<const Run> runs;               ///< whose rows, in order; together all of them
  Matrix<const float> probabilities;  ///< [rows, experts]; read from a file: to f16's precision
  Span<const Choice> choices;         ///< ordered by row
};

// Bounds of the format, for writer and reader alike.
constexpr std::size_t kMostRows = 4096;     // of one record
constexpr std::size_t kMostExperts = 1024;  // of one layer
constexpr std::size_t kMostLayers = 4096;
constexpr std::size_t kMostPairs = std::size_t{1} << 24;  // layers x experts x experts: statistics
constexpr std::size_t kMostFrameBytes = std::size_t{64} << 20;  // one record of the largest size

/// Whether a model's shape is within these bounds.
inline bool fits(const Header& header) {
  const auto within = [](std::size_t value, std::size_t most) {
    return value >= 1 && value <= most;
  };
  return within(header.layers, kMostLayers) && within(header.experts, kMostExperts) &&
         within(header.top_k, header.experts) &&
         header.experts * header.experts <= kMostPairs / header.layers;
}

}  // namespace wdmoe::bsd::trace
