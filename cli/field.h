#pragma once
// `wdmoe field record|report`: what a trial with real radios yields, in one file and on one page.

#include "cli/command.h"

namespace wdmoe::cli {

void add_field(Commands& commands);

}  // namespace wdmoe::cli
