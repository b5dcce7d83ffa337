// `wdmoe`: the operator's tool.  One line per subcommand; each lives in its own file (command.h).

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/field.h"

namespace {

constexpr int kWrongUsage = 2;

bool knows(const CLI::App& app, const std::string& name) {
  const auto all = app.get_subcommands([](const CLI::App*) { return true; });
  return std::any_of(all.begin(), all.end(),
                     [&](const CLI::App* c) { return c->get_name() == name; });
}

int run(int argc, char** argv) {
  CLI::App app("Mixture-of-experts language models whose experts live on wireless devices",
               "wdmoe");
  app.set_version_flag("--version", "wdmoe " WDMOE_VERSION);
  app.set_help_all_flag("--help-all", "Print the help of every subcommand and exit");
  app.require_subcommand(1);
  wdmoe::cli::Commands commands{app, {}};
  wdmoe::cli::add_up(commands);
  wdmoe::cli::add_generate(commands);
  wdmoe::cli::add_chat(commands);
  wdmoe::cli::add_bench(commands);
  wdmoe::cli::add_plan(commands);
  wdmoe::cli::add_split(commands);
  wdmoe::cli::add_inspect(commands);
  wdmoe::cli::add_keygen(commands);
  wdmoe::cli::add_make_model(commands);
  wdmoe::cli::add_logits(commands);
  wdmoe::cli::add_allocate(commands);
  wdmoe::cli::add_simulate(commands);
  wdmoe::cli::add_eval(commands);
  wdmoe::cli::add_status(commands);
  wdmoe::cli::add_policy(commands);
  wdmoe::cli::add_radio(commands);
  wdmoe::cli::add_trace(commands);
  wdmoe::cli::add_field(commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // --help is one too
    const std::string word = argc > 1 ? argv[1] : "";
    if (!word.empty() && word[0] != '-' && !knows(app, word)) {
      std::fputs(fmt::format("wdmoe: unknown command '{}'; see wdmoe --help\n", word).c_str(),
                 stderr);
      return kWrongUsage;
    }
    return app.exit(error) == 0 ? 0 : kWrongUsage;
  }

  const auto outcome = commands.chosen();
  if (outcome) return *outcome;
  const auto chosen = app.get_subcommands();
  std::fputs(
      fmt::format("wdmoe {}: {}\n", chosen.front()->get_name(), outcome.error().text).c_str(),
      stderr);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& failure) {  // out of memory, a broken standard stream
    std::fputs(fmt::format("wdmoe: {}\n", failure.what()).c_str(), stderr);
    return 1;
  }
}
