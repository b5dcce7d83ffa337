#include "cli/base_station.h"

#include <cstdlib>

#include <CLI/CLI.hpp>

namespace wdmoe::cli {
namespace {

std::string flag_or_environment(const std::string& flag, const char* variable) {
  if (!flag.empty()) return flag;
  const char* const value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

}  // namespace

CLI::Option* BaseStation::add_to(CLI::App& command, const std::string& help) {
  auto* const option =
      command.add_option("--bsd", url, help + ": http[s]://HOST:PORT (else WDMOE_URL)");
  command.add_option("--api-key", api_key,
                     "its API key (else WDMOE_API_KEY, which no list of processes shows)");
  return option;
}

Result<HttpClient> BaseStation::client() const {
  const std::string address = flag_or_environment(url, "WDMOE_URL");
  if (address.empty())
    return fail(Code::bad_input,
                "which system? give --bsd http://HOST:PORT, set WDMOE_URL, or run in one process "
                "with --model DIR");
  auto client = HttpClient::to(address);
  if (client) client->set_api_key(flag_or_environment(api_key, "WDMOE_API_KEY"));
  return client;
}

}  // namespace wdmoe::cli
