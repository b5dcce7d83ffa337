#pragma once
// `history`: the paper's selection for the testbed, where latency is known only from the past.

#include <array>
#include <cstdint>
#include <vector>

#include "bsd/moe/draft.h"

namespace wdmoe::bsd {

/// Seconds per row of one device, predicted as the mean of its last kWindow exchanges.  Whoever
/// measures feeds it and passes per_row_s() on as Latencies::per_row_s.
class LatencyHistory {
 public:
  static constexpr std::size_t kWindow = 16;  // follows a change within 16 layers, half a token

  void observe(std::size_t rows, double seconds);  ///< no rows, or no finite seconds: ignored
  double per_row_s() const;                        ///< 0 before the first observation

 private:
  std::array<double, kWindow> per_row_{};
  std::size_t count_ = 0;  // observations ever; the newest kWindow are kept
};

/// This project's reading of [wdmoe], testbed variant.  The device with the greatest busy(k) gives
/// up rows, those with the lowest weight on it first (and all their experts there), until another
/// device (or none) is later; a row keeps at least one device.  One device a call, as written.
/// Reads busy times only: the paper knows no shared medium.
class HistoryRule {
 public:
  void apply(const Problem& problem, Draft& draft);

 private:
  struct Visit {
    double weight;
    std::uint32_t row;
  };
  Loads loads_;
  std::vector<Visit> visits_;
};

}  // namespace wdmoe::bsd
