// wdmoe keygen: CURVE keys for a base station or its agents, and keys of the HTTP API.

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bsd/api_keys.h"
#include "cli/command.h"
#include "wire/keys.h"

namespace wdmoe::cli {
namespace {

struct KeygenOptions {
  std::vector<std::string> names;
  std::filesystem::path out = ".", api;
  bool force = false;
};

Result<int> api_keygen(const KeygenOptions& options) {
  for (const std::string& name : options.names) {
    const auto key = bsd::add_api_key(options.api, name);
    if (!key) return tl::unexpected<Error>(key.error());
    std::printf("%s\n", key->c_str());
  }
  return 0;
}

Result<int> keygen(const KeygenOptions& options) {
  for (const std::string& name : options.names) {
    const auto pair = wire::write_keys(options.out, name, options.force);
    if (!pair) return tl::unexpected<Error>(pair.error());
    std::printf("%s  %s\n", pair->public_key.c_str(), (options.out / (name + ".pub")).c_str());
  }
  return 0;
}

}  // namespace

void add_keygen(Commands& commands) {
  const auto options = std::make_shared<KeygenOptions>();
  CLI::App& command = commands.add(
      "keygen", "Make CURVE keys: NAME.key stays where it is used, NAME.pub goes to the other side",
      [options] { return options->api.empty() ? keygen(*options) : api_keygen(*options); });
  command.add_option("NAME", options->names, "identity of a base station or an agent")->required();
  auto* const out =
      command.add_option("--out", options->out, "directory of the key files")->type_name("DIR");
  auto* const force = command.add_flag("--force", options->force, "replace keys that exist");
  command
      .add_option("--api", options->api,
                  "make keys of the HTTP API instead: prints each once and adds its hash to FILE "
                  "(http.api_keys); removing a line takes its key back")
      ->type_name("FILE")
      ->excludes(out)
      ->excludes(force);
}

}  // namespace wdmoe::cli
