#pragma once
// `wdmoe allocate`: one bandwidth-allocation problem in, its optimum out, both as JSON.

#include <string>
#include <string_view>

#include "common/result.h"

namespace wdmoe::cli {

/// Solves the instance in `text` (format: `wdmoe allocate --help`) and returns the answer as
/// indented JSON.  Strict: a missing, unknown, repeated or ill-typed field is bad_input and named,
/// as is every value the allocator refuses.
Result<std::string> allocate_json(std::string_view text);

}  // namespace wdmoe::cli
