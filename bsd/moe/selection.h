#pragma once
// Who does the work: from gate probabilities to (row, expert, device, weight).  Pure values and one
// interface; the daemon, the simulator and the tests use the same policies.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "bsd/request.h"
#include "common/span.h"
#include "common/tensor.h"

namespace wdmoe::bsd {

/// The device of a Choice whose expert nobody holds now: the step fails (unavailable), never the
/// maths.
constexpr std::uint16_t kNobody = 0xffff;

/// What one row asks of one expert, and where that is computed.  w[j,k] of the paper after top-k.
struct Choice {
  std::uint32_t row;
  std::uint16_t expert;
  std::uint16_t device;  ///< index into the roster's devices, or kNobody
  float weight;
};

/// One layer's decision, ordered by row.  A row's weights sum to 1.
using Selection = std::vector<Choice>;

/// Which devices hold an expert of this layer; holders[expert] may be empty (nobody: not
/// selectable).
using Holders = std::vector<std::vector<std::uint16_t>>;

/// What one exchange is predicted to cost, in seconds.  rows(k) counts the distinct rows sent to
/// device k: a row that wants several experts of one device travels once.
///     busy(k) = fixed(k) + per_row(k) * rows(k) + sum of per_choice(k, expert) over its choices,
///               0 for a device without rows
///     air     = sum over devices with rows of
///               air_fixed(k) + airtime(k) * rows(k) + air_per_choice(k) * choices(k)
///     T       = max( air,  max_k busy(k) )
/// With fixed = 0, no air and one expert a device this is q_k * t_k and t^i of [wdmoe].
/// Values that are negative or no numbers count as 0, larger ones as kForever; a device beyond the
/// spans counts as slow as the slowest within.  Everything empty: latency is unknown (all 0).
struct Latencies {
  Span<const double> fixed_s;         ///< [devices] round trip and queueing, once per exchange
  Span<const double> per_row_s;       ///< [devices] downlink, uplink (and compute) of one row
  Matrix<const double> per_choice_s;  ///< optional [devices, experts], e.g. compute per expert
  Span<const double> airtime_s;       ///< optional [devices]: what one row takes of a shared medium
  Span<const double> air_per_choice_s;  ///< optional [devices], beside airtime_s
  Span<const double> air_fixed_s;       ///< optional [devices], beside airtime_s
};
constexpr double kForever = 1e6;  ///< s; keeps sums of latencies finite

struct SelectionInput {
  std::size_t layer = 0;
  std::size_t top_k = 2;
  Matrix<const float> probabilities;  ///< [rows, experts], softmax over all experts, f32
  const Holders* holders = nullptr;   ///< of this layer, [experts]

  // Read by the latency-aware policies; each may stay empty.
  Latencies latencies = {};
  /// Least kept gate mass (metrics.h), mean over the rows, in [0, 1]; negative: the policy's
  /// setting.
  double quality = -1;
  /// [rows] least kept gate mass of each row: what a request asked for, or empty.
  Span<const float> row_quality = {};
  /// [rows] what each row's request asked for, or empty; read by SwitchablePolicy alone.
  Span<const PolicyWish> wishes = {};
  const Selection* previous = nullptr;  ///< the last decision for these rows (joint optimisation)
};

class SelectionPolicy {
 public:
  virtual ~SelectionPolicy() = default;
  virtual std::string_view name() const = 0;
  /// True: weighs Latencies::airtime_s, and so can be told what a row takes from all the others.
  virtual bool weighs_airtime() const { return false; }
  /// Mean kept gate mass that it holds to where the input sets none; negative: no such setting.
  virtual double quality() const { return -1; }
  /// Overwrites `selection`; does not allocate once it has seen a batch at least as large.
  virtual void select(const SelectionInput& input, Selection& selection) = 0;
};

/// The gate's own choice, as transformers makes it: the top_k probabilities, renormalised to sum 1;
/// of equal probabilities the lower expert wins.  Among an expert's holders the
/// first; kNobody where it has none (it substitutes nothing: that would change the text silently).
std::unique_ptr<SelectionPolicy> make_top_k_policy();

}  // namespace wdmoe::bsd
