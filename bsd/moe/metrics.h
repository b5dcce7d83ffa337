#pragma once
// What a finished selection amounts to, whoever made it: loads by device and kept gate mass.
// Keeps its buffers, for callers on the token's path; draft.h has one-off functions.

#include <cstdint>
#include <vector>

#include "bsd/moe/problem.h"
#include "bsd/moe/selection.h"

namespace wdmoe::bsd {

struct DeviceLoad {
  std::uint32_t rows = 0;    ///< q_k: distinct rows sent there
  std::uint32_t visits = 0;  ///< experts computed there, summed over those rows
};

class SelectionMetrics {
 public:
  /// Counts what `selection` (ordered by row) asks of `devices` devices; the span lives until the
  /// next call.  Empty if a choice has nobody to compute it, or a device beyond them.
  Span<const DeviceLoad> count_loads(const Selection& selection, std::size_t devices);

  /// As the function of that name in draft.h.
  double kept_gate_mass(const SelectionInput& input, const Selection& selection);

 private:
  std::vector<DeviceLoad> loads_;
  Ranks ranks_;
  std::vector<double> mass_;  // [rows]
};

}  // namespace wdmoe::bsd
