#pragma once
// The subcommands of `wdmoe trace`, each in its own file.

#include "cli/command.h"

namespace wdmoe::cli {

void add_trace_record(CommandGroup& commands);
void add_trace_info(CommandGroup& commands);

}  // namespace wdmoe::cli
