#pragma once
// Runs a scenario: every policy with every knob, allocator, seed and sweep value, over all cores.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bsd/joint.h"
#include "common/result.h"
#include "sim/cell_policy.h"
#include "sim/scenario.h"

namespace wdmoe::sim {

/// One way to serve the cell.
struct Variant {
  std::string policy;
  std::string
      knob;  ///< "quality", "beta", "theta", or empty: the policy has none, or its default holds
  double value = -1;
  bsd::Sharing sharing = bsd::Sharing::equal;

  /// The gate's own choice and an equal split: what the others are compared with.
  bool is_vanilla() const { return policy == "topk" && sharing == bsd::Sharing::equal; }
};

/// One variant at one value of the sweep.
struct Point {
  std::optional<double> sweep_value;
  Variant variant;
  std::vector<Account> runs;  ///< [seeds]; equal seeds mean equal cells and gates
};

/// Told from any thread, one at a time: `done` of `total` runs.
using Progress = std::function<void(std::size_t done, std::size_t total)>;

/// The variants a scenario asks for, vanilla first whether it does or not.
std::vector<Variant> variants_of(const Scenario& scenario);

/// Points by sweep value, then variant.  The result does not depend on `threads`.
/// Errors: bad_input, io of a trace; what status() of CellPolicy names.
Result<std::vector<Point>> simulate(const Scenario& scenario, std::size_t threads,
                                    const Progress& progress);

/// One run.
Result<Account> simulate_one(const Scenario& scenario, const Variant& variant, std::uint64_t seed);

}  // namespace wdmoe::sim
