#pragma once
// The configurations that one `wdmoe eval` compares.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/span.h"

namespace wdmoe::cli::eval {

/// One way to run the model.
struct Case {
  std::string policy;                 ///< empty: whatever a running system is set up with
  std::string allocator;              ///< "equal", "exact", or empty: no cell
  std::optional<double> quality;      ///< absent: the policy's own, or it has no such knob
  std::vector<double> layer_quality;  ///< [layers] goes before `quality`; empty: layers are alike
  /// Least kept gate mass of every single row; absent: rows may lose all but one expert.
  std::optional<double> row_quality = std::nullopt;
};

/// bad_input, about the command line's `flag`, if none of the cases has the knob `quality`.
Result<void> check_quality_is_read(Span<const Case> cases, std::string_view flag);

/// Every policy with every allocator (none: without a cell) and, where it reads one, every quality
/// (none: its own).  The first is what all are compared with, topk with an equal split, given or
/// not; nothing appears twice.
/// Errors: not_found for an unknown policy or allocator, bad_input for a quality outside 0 and 1.
Result<std::vector<Case>> cases_of(Span<const std::string> policies,
                                   Span<const std::string> allocators,
                                   Span<const double> qualities);

}  // namespace wdmoe::cli::eval
