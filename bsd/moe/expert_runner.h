#pragma once
// Where a layer's experts are computed, as the decoder sees it: over the air (fleet/) or in this
// process (model/local_experts).

#include <chrono>

#include "bsd/moe/selection.h"
#include "bsd/request.h"
#include "common/result.h"

namespace wdmoe::bsd {

/// How long an exchange kept its caller.
struct Waiting {
  /// Inside finish(), combining left out: what is overlapped with other work does not count.
  std::chrono::nanoseconds blocked{0};
  /// From the first row sent to the last answer taken in.  0 where that would not be the devices'
  /// time: an answer lay here until somebody looked, or an agent had other rows before these.
  std::chrono::nanoseconds response{0};
};

class ExpertRunner {
 public:
  /// Exchanges that may be under way together: while the devices compute one part of a batch, the
  /// base station prepares another.
  static constexpr std::size_t kMostUnderWay = 2;

  virtual ~ExpertRunner() = default;

  /// Who holds what right now, for `layer`.  Valid until the next begin() or finish().
  virtual const Holders& holders(std::size_t layer) const = 0;

  /// Exchanges that are worth having under way together: 1 where begin() itself computes.
  virtual std::size_t worth_under_way() const = 0;

  /// Starts an exchange: y[row] = Σ weight · expert(x[row]) over `selection`.  x, y: [rows, hidden]
  /// f32.  x is free again on return, y when finish() has returned for it.  unavailable, limit: a
  /// device cannot take its rows.  At most kMostUnderWay between this and finish().
  /// Adds its serialise, bytes, messages and round trips to `costs`.
  virtual Result<void> begin(std::size_t layer, const Selection& selection, Matrix<const float> x,
                             Matrix<float> y, StepCosts& costs) = 0;

  /// Finishes the oldest exchange under way: blocks until every answer is there or a deadline
  /// passed (timeout, unavailable).  Adds its wire_wait, combine and bytes to `costs`.
  virtual Result<void> finish(StepCosts& costs) = 0;

  /// What a device is likely to cost, learned from earlier exchanges; empty: not known.  Valid
  /// until the next begin() or finish().
  virtual Latencies latencies() { return {}; }

  /// Of the exchange that the last finish() ended.
  virtual Waiting last_wait() const { return {}; }

  /// Gives up whatever is under way; after an error of begin() or finish(), or of the caller's own.
  virtual void abandon() = 0;
};

}  // namespace wdmoe::bsd
