// `wdmoe inspect`: what a checkpoint, shard, split or manifest holds.

#include <cstdio>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/describe.h"

namespace wdmoe::cli {
namespace {

struct InspectOptions {
  std::string path, output = "text";
  bool verify = false;
};

Result<int> run_inspect(const InspectOptions& options) {
  const auto description = describe(options.path, options.verify);
  if (!description) return tl::unexpected(description.error());
  const std::string text =
      options.output == "json"
          ? description->dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
          : describe_as_text(*description);
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace

void add_inspect(Commands& commands) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App& command = commands.add("inspect", "Show what a model, shard or manifest holds",
                                   [options] { return run_inspect(*options); });
  command
      .add_option("PATH", options->path,
                  "model directory, .safetensors file, shard, split or manifest.json")
      ->required();
  command.add_flag("--verify", options->verify, "read every file and compare or print its digest");
  command.add_option("--output", options->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command.footer("example: wdmoe inspect shards/agent-0 --verify");
}

}  // namespace wdmoe::cli
