#pragma once
// Figures: commands in, files out, drawn by the gnuplot that is installed.

#include <filesystem>
#include <string>

#include "common/result.h"

namespace wdmoe::cli {

/// Runs `commands` in `folder`, as NAME.gp; what they write lies there afterwards.  Errors: io
/// (names the script and the log that says why).
Result<void> draw(const std::string& name, const std::string& commands,
                  const std::filesystem::path& folder);

}  // namespace wdmoe::cli
