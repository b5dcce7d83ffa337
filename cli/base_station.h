#pragma once
// Which base station a command talks to: --bsd and --api-key, or the environment's WDMOE_URL and
// WDMOE_API_KEY.

#include <string>

#include "cli/http_client.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace wdmoe::cli {

struct BaseStation {
  std::string url, api_key;

  /// Adds both flags; `help` is --bsd's.  Returns --bsd, for what excludes it.
  CLI::Option* add_to(CLI::App& command, const std::string& help);
  /// bad_input when neither flag nor environment gives an address.
  Result<HttpClient> client() const;
};

}  // namespace wdmoe::cli
