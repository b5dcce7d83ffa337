// `wdmoe radio freeze|resume`: holds the shares of a running base station as they are, for a
// measurement or in trouble, and lets them follow the links again.

#include <cstdio>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/base_station.h"
#include "cli/radio_commands.h"

namespace wdmoe::cli {
namespace {

Result<int> set_frozen(const BaseStation& bsd, bool frozen) {
  auto client = bsd.client();
  if (!client) return tl::unexpected<Error>(client.error());
  const auto state = json_of(client->put("/wdmoe/v1/radio", json_text({{"frozen", frozen}})));
  if (!state) return tl::unexpected<Error>(state.error());
  std::fputs(fmt::format("radio: {}\n", state->value("state", std::string("unknown"))).c_str(),
             stdout);
  return 0;
}

void add(CommandGroup& commands, const char* name, const char* help, bool frozen) {
  auto bsd = std::make_shared<BaseStation>();
  CLI::App& command = commands.add(name, help, [bsd, frozen] { return set_frozen(*bsd, frozen); });
  bsd->add_to(command, "base station");
}

}  // namespace

void add_radio_freeze(CommandGroup& commands) {
  add(commands, "freeze", "A running base station keeps its shares as they are", true);
}

void add_radio_resume(CommandGroup& commands) {
  add(commands, "resume", "Its shares follow the links again", false);
}

}  // namespace wdmoe::cli
