#pragma once
// The policies by name, for configuration, command lines and the control API.

#include <cstdint>
#include <memory>
#include <string_view>

#include "bsd/moe/selection.h"
#include "common/result.h"
#include "common/span.h"

namespace wdmoe::bsd {

struct PolicyOptions {
  /// Mean kept gate mass to hold, [0, 1].  Negative: the policy's default (budget: 0.9; minmax: as
  /// much as wlr keeps on the same input).  SelectionInput::quality goes before it.
  double quality = -1;
  double beta =
      0.3;  ///< `beta` skips experts below this share of the row's greatest weight, [0, 1]
  double theta = -1;  ///< `wlr`'s similarity threshold, [0, 1]; negative: it searches its own
};

struct PolicyEntry {
  std::string_view name;
  std::string_view help;  ///< one line
  bool reads_quality;     ///< has the knob `quality`, PolicyOptions' and SelectionInput's
};

/// Every policy, in the order of the documentation.
Span<const PolicyEntry> policies();

/// Whether the policy has the knob `quality`; false for an unknown name.
bool reads_quality(std::string_view name);

/// Where `name` stands in policies(); not_found for an unknown name (lists the known ones).
Result<std::uint8_t> policy_index(std::string_view name);

/// Errors: not_found for an unknown name (lists the known ones), bad_input for an option out of
/// range.
Result<std::unique_ptr<SelectionPolicy>> make_policy(std::string_view name,
                                                     const PolicyOptions& options = {});

}  // namespace wdmoe::bsd
