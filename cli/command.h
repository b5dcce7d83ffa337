#pragma once
// How `wdmoe` grows: each subcommand is one function in its own file that adds itself to the parser
// and says what to do when it was chosen.  main.cpp only lists them.

#include <functional>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>

#include "common/result.h"

namespace wdmoe::cli {

/// What a chosen subcommand does after parsing.  Returns the exit code; an Error is printed as one
/// line `wdmoe COMMAND: …` and ends with exit code 1.
using Action = std::function<Result<int>()>;

struct Commands {
  CLI::App& app;
  Action chosen;  ///< set by the subcommand's callback

  /// `wdmoe NAME`: add options to the returned parser; `action` runs if NAME was given.
  CLI::App& add(const char* name, const char* help, Action action) {
    CLI::App* command = app.add_subcommand(name, help);
    command->callback([this, action = std::move(action)] { chosen = action; });
    return *command;
  }
};

/// As Commands, one level down: `wdmoe GROUP NAME`.  The chosen subcommand's action becomes the
/// group's.
class CommandGroup {
 public:
  CommandGroup(Commands& commands, const char* name, const char* help)
      : chosen_(std::make_shared<Action>()),
        app_(commands.add(name, help, [chosen = chosen_] { return (*chosen)(); })) {
    app_.require_subcommand(1);
  }

  CLI::App& add(const char* name, const char* help, Action action) {
    CLI::App* command = app_.add_subcommand(name, help);
    command->callback([chosen = chosen_, action = std::move(action)] { *chosen = action; });
    return *command;
  }

 private:
  std::shared_ptr<Action> chosen_;
  CLI::App& app_;
};

void add_plan(Commands& commands);
void add_split(Commands& commands);
void add_inspect(Commands& commands);
void add_make_model(Commands& commands);
void add_keygen(Commands& commands);
void add_up(Commands& commands);
void add_generate(Commands& commands);
void add_chat(Commands& commands);
void add_logits(Commands& commands);
void add_bench(Commands& commands);
void add_allocate(Commands& commands);
void add_simulate(Commands& commands);
void add_eval(Commands& commands);
void add_status(Commands& commands);
void add_policy(Commands& commands);
void add_radio(Commands& commands);
void add_trace(Commands& commands);

}  // namespace wdmoe::cli
