#pragma once
// Per layer, what selection did and how well waiting was predicted in the steps that succeeded,
// since the station started: for /metrics.  The engine thread writes without locks; snapshot() is
// callable from any thread.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "bsd/moe/witness.h"

namespace wdmoe::bsd {

/// Sums of one layer.
struct LayerCounts {
  SelectionTally tally;
  std::uint64_t waits = 0;            ///< exchanges
  double blocked_s = 0;               ///< that the base station had nothing else to do, in all
  std::uint64_t predicted_waits = 0;  ///< exchanges whose prediction could be checked
  double predicted_s = 0;             ///< of those
  double response_s = 0;              ///< of those: first row sent to last answer
  double error = 0;                   ///< of those: sum of |predicted - response| / response
};

/// predicted / response of single exchanges, counted by upper bounds; the last bucket has none.
struct PredictionRatios {
  static constexpr std::array<double, 11> kBounds{0.25, 0.5,  0.67, 0.8, 0.9, 1.0,
                                                  1.1,  1.25, 1.5,  2.0, 4.0};
  std::array<std::uint64_t, kBounds.size() + 1> counts{};
  double sum = 0;
};

/// |predicted - response| / response of single exchanges, counted by upper bounds; the last bucket
/// has none.
struct PredictionErrors {
  static constexpr std::array<double, 12> kBounds{0.01, 0.02, 0.03, 0.05, 0.075, 0.1,
                                                  0.15, 0.2,  0.3,  0.5,  1.0,   2.0};
  std::array<std::uint64_t, kBounds.size() + 1> counts{};
  double sum = 0;
  /// Of the last kRecent exchanges; negative: none yet.
  double recent_median = -1;
  static constexpr std::size_t kRecent = 256;
};

struct LedgerSnapshot {
  std::vector<LayerCounts> layers;
  PredictionRatios ratios;
  PredictionErrors errors;
};

class Ledger final : public SelectionWitness {
 public:
  explicit Ledger(std::size_t layers);

  void decided(const Decision& decision) override;
  void waited(const Wait& wait) override;
  void completed() override;
  LedgerSnapshot snapshot() const;  ///< sums of one layer may be a step apart

 private:
  void clear_pending();

  template <class T>
  using Shared = std::atomic<T>;  // one writer: relaxed loads and stores suffice
  struct Layer {
    Shared<std::uint64_t> rows{0}, drops{0}, substitutions{0}, waits{0}, predicted_waits{0};
    Shared<double> kept{0}, blocked_s{0}, predicted_s{0}, response_s{0}, error{0};
  };

  // Of the step under way; a new step's first decision throws away what a failed one left.
  std::uint64_t step_ = 0;
  LedgerSnapshot pending_;
  std::vector<float> pending_errors_;  // of single exchanges

  const std::size_t count_;
  const std::unique_ptr<Layer[]> layers_;
  std::array<Shared<std::uint64_t>, PredictionRatios::kBounds.size() + 1> ratios_{};
  Shared<double> ratio_sum_{0};
  std::array<Shared<std::uint64_t>, PredictionErrors::kBounds.size() + 1> errors_{};
  Shared<double> error_sum_{0};
  std::array<Shared<float>, PredictionErrors::kRecent> recent_{};  // a ring
  Shared<std::uint64_t> recent_count_{0};                          // ever written
};

}  // namespace wdmoe::bsd
