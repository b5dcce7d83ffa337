#pragma once
// Looks at what this machine's kernel offers for shaping.  Queueing disciplines are tried in a
// network namespace of a child process; no interface that carries traffic is touched.

#include <optional>
#include <string>

#include "bsd/shaping/capabilities.h"
#include "common/result.h"

namespace wdmoe::shaping {

/// Forks: call it before threads are started.  not_found: no such interface.
Result<Findings> probe(const std::optional<std::string>& interface);

}  // namespace wdmoe::shaping
