#pragma once
// The subcommands of `wdmoe radio`, each in its own file.

#include "cli/command.h"

namespace wdmoe::cli {

void add_radio_check(CommandGroup& commands);
void add_radio_reset(CommandGroup& commands);
void add_radio_freeze(CommandGroup& commands);
void add_radio_resume(CommandGroup& commands);

}  // namespace wdmoe::cli
