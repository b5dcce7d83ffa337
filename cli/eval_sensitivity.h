#pragma once
// `wdmoe eval sensitivity`, a part of `wdmoe eval` in a file of its own.

#include "cli/command.h"

namespace wdmoe::cli {

/// Adds the subcommand to `group`, the parser of `wdmoe eval`.
void add_eval_sensitivity(CLI::App& group, Commands& commands);

}  // namespace wdmoe::cli
