// `wdmoe policy show|set`: how a running system chooses experts.

#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/base_station.h"
#include "cli/command.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;

constexpr const char* kPath = "/wdmoe/v1/policy";

struct PolicyOptions {
  CLI::App* set = nullptr;
  BaseStation bsd;
  std::string name, output = "table";
  std::optional<double> quality, beta;
};

std::string shown(const json& value, const char* otherwise) {
  return value.is_number() ? fmt::format("{:g}", value.get<double>()) : std::string(otherwise);
}

std::string table_of(const json& state) {
  const auto current = state.at("policy").get<std::string>();
  const bool by_layer = state.at("layer_budgets").get<bool>();
  std::string table =
      fmt::format("quality {}, beta {}\n",
                  shown(state.at("quality"), by_layer ? "of each layer" : "of the policy"),
                  shown(state.at("beta"), "of the policy"));
  for (const json& one : state.at("policies")) {
    const auto name = one.at("name").get<std::string>();
    table += fmt::format("{} {:<8} {}\n", name == current ? '*' : ' ', name,
                         one.at("help").get<std::string>());
  }
  return table;
}

Result<HttpResponse> ask(const PolicyOptions& options, const HttpClient& client) {
  if (!options.set->parsed()) return client.get(kPath);
  json body{{"policy", options.name}};
  if (options.quality) body["quality"] = *options.quality;
  if (options.beta) body["beta"] = *options.beta;
  return client.put(kPath, json_text(body));
}

Result<int> run_policy(const PolicyOptions& options) {
  auto client = options.bsd.client();
  if (!client) return tl::unexpected<Error>(client.error());
  return print_answer(ask(options, *client), kPath, options.output == "json", table_of);
}

}  // namespace

void add_policy(Commands& commands) {
  auto options = std::make_shared<PolicyOptions>();
  CLI::App& command = commands.add("policy", "Show or change how a running system chooses experts",
                                   [options] { return run_policy(*options); });
  command.require_subcommand(1);
  CLI::App* show = command.add_subcommand("show", "The policy in force, and those there are");
  options->set = command.add_subcommand("set", "Change it, from the next layer on");
  options->set->add_option("name", options->name, "policy; wdmoe policy show lists them")
      ->required();
  options->set
      ->add_option("--quality", options->quality,
                   "least share of the gate's mass to keep, 0 to 1 (budget, minmax)")
      ->check(CLI::Range(0.0, 1.0));
  options->set
      ->add_option("--beta", options->beta, "skip weights below this share of the greatest (beta)")
      ->check(CLI::Range(0.0, 1.0));
  for (CLI::App* each : {show, options->set}) {
    options->bsd.add_to(*each, "base station");
    each->add_option("-o,--output", options->output, "table or json")
        ->check(CLI::IsMember({"table", "json"}))
        ->capture_default_str();
  }
  command.footer("example: wdmoe policy set minmax --quality 0.95");
}

}  // namespace wdmoe::cli
