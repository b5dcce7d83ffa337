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

  /// The layer that the two below are about; its values are read until the next call.
  void look_at(const SelectionInput& input);
  /// kept(j) of every row; see kept_gate_mass() in draft.h.  Resizes `kept` to [rows].
  void kept_by_row(const Selection& selection, std::vector<double>& kept) const;
  /// Its mean; 1 without rows.
  double kept_gate_mass(const Selection& selection);

 private:
  std::vector<DeviceLoad> loads_;
  Matrix<const float> probabilities_;
  Ranks ranks_;
  std::vector<double> kept_;
};

}  // namespace wdmoe::bsd
