#pragma once
// The subcommands of `wdmoe trace`, each in its own file.

#include <memory>

#include "cli/command.h"

namespace wdmoe::cli {

/// As Commands, one level down; the chosen subcommand's action becomes the command's.
struct TraceCommands {
  CLI::App& app;
  std::shared_ptr<Action> chosen;

  CLI::App& add(const char* name, const char* help, Action action) {
    CLI::App* command = app.add_subcommand(name, help);
    command->callback([chosen = chosen, action = std::move(action)] { *chosen = action; });
    return *command;
  }
};

void add_trace_record(TraceCommands& commands);
void add_trace_info(TraceCommands& commands);

}  // namespace wdmoe::cli
