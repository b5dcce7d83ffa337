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

/// One exchange's answers.  Where the devices' own time is not known (another exchange was in the
/// way) or nothing had been predicted, both predicted_s and response_s are 0.
struct Wait {
  std::size_t layer;
  double predicted_s;  ///< what had been thought response_s would be
  double response_s;   ///< from the first row sent to the last answer
  double blocked_s;    ///< that the base station had nothing else to do
};

class SelectionWitness {
 public:
  virtual ~SelectionWitness() = default;
  virtual void decided(const Decision& decision) = 0;
  virtual void waited(const Wait& wait) = 0;
  /// The step of the last decision is through all layers.  One that fails gets no such call.
  virtual void completed() = 0;
};

}  // namespace wdmoe::bsd
