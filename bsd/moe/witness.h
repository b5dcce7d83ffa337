#pragma once
// Who is told of every decision and of how long it made the layer wait: the metrics' ledger and a
// trace under way.  Called on the engine thread, on the token's path: must be quick.

#include <cstddef>
#include <cstdint>

#include "bsd/moe/selection.h"
#include "common/span.h"

namespace wdmoe::bsd {

/// Consecutive rows of one sequence.
struct RowRun {
  std::uint64_t sequence = 0;  ///< unique while the station runs
  std::uint32_t position = 0;  ///< of the first row, in its sequence
  std::uint32_t rows = 0;
};

/// What was decided for some rows of one forward pass in one layer.
struct Decision {
  std::uint64_t step;       ///< forward pass; one that is tried again gets a new number
  Span<const RowRun> runs;  ///< whose rows: of the whole batch, in order
  std::size_t first_row;    ///< of the batch, where these rows begin
  const SelectionInput& input;
  const Selection& selection;
  const SelectionTally& tally;  ///< sum over these rows
};

/// How long the base station waited for one exchange's answers, and what that had been thought to
/// take; nothing had been where predicted_s is 0.
struct Wait {
  std::size_t layer;
  double predicted_s;
  double measured_s;
};

class SelectionWitness {
 public:
  virtual ~SelectionWitness() = default;
  virtual void decided(const Decision& decision) = 0;
  virtual void waited(const Wait& wait) = 0;
};

}  // namespace wdmoe::bsd
