#include "cli/gnuplot.h"

#include <chrono>

#include "common/process.h"
#include "weights/file.h"

namespace wdmoe::cli {

Result<void> draw(const std::string& name, const std::string& commands,
                  const std::filesystem::path& folder) {
  const std::string script = name + ".gp";
  WDMOE_TRY(weights::write_text(folder / script, commands));
  ProcessOptions options;
  options.arguments = {"gnuplot", script};
  options.folder = folder.string();
  options.output_file = (folder / (name + ".log")).string();
  auto gnuplot = Process::start(options);
  if (!gnuplot) return tl::unexpected<Error>(std::move(gnuplot).error());
  constexpr std::chrono::seconds kPatience{60};
  const auto status = gnuplot->wait(kPatience);
  if (status != 0)
    return fail(Code::io, "gnuplot failed on " + (folder / script).string() + "; see " +
                              *options.output_file);
  std::error_code ignored;
  std::filesystem::remove(*options.output_file, ignored);
  return {};
}

}  // namespace wdmoe::cli
