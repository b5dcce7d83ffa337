#pragma once
// Where a layer's experts are computed, as the decoder sees it: over the air (fleet/) or in this
// process (model/local_experts).

#include "bsd/moe/selection.h"
#include "bsd/request.h"
#include "common/result.h"

namespace wdmoe::bsd {

class ExpertRunner {
 public:
  virtual ~ExpertRunner() = default;

  /// Who holds what right now, for `layer`.  Valid until the next exchange().
  virtual const Holders& holders(std::size_t layer) const = 0;

  /// y[row] = Σ weight · expert(x[row]) over `selection`.  x, y: [rows, hidden] f32.
  /// Blocks until every answer is there or a deadline passed (timeout, unavailable).
  /// Adds its serialise, wire_wait, combine, bytes, messages and round trips to `costs`.
  virtual Result<void> exchange(std::size_t layer, const Selection& selection,
                                Matrix<const float> x, Matrix<float> y, StepCosts& costs) = 0;
};

}  // namespace wdmoe::bsd
