// `wdmoe chat`: a conversation in the terminal.

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "cli/command.h"
#include "cli/stream.h"
#include "cli/system.h"
#include "cli/text_options.h"

namespace wdmoe::cli {
namespace {

struct ChatOptions {
  SystemOptions system;
  TextOptions text;
  std::string instructions;
};

nlohmann::json message(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

nlohmann::json first_messages(const ChatOptions& options) {
  auto messages = nlohmann::json::array();
  if (!options.instructions.empty()) messages.push_back(message("system", options.instructions));
  return messages;
}

/// Asks with the whole conversation, prints the answer as it comes and adds it.
Result<void> answer(const ChatOptions& options, const HttpClient& client,
                    nlohmann::json& messages) {
  auto body = options.text.body();
  body["messages"] = messages;
  auto summary =
      stream_text(client, "/v1/chat/completions", std::move(body), [](const StreamPiece& piece) {
        std::fputs(piece.text.c_str(), stdout);
        std::fflush(stdout);
      });
  std::fputs("\n", stdout);
  if (!summary) return tl::unexpected<Error>(summary.error());
  messages.push_back(message("assistant", summary->text));
  return {};
}

Result<int> run_chat(const ChatOptions& options) {
  auto system = System::open(options.system);
  if (!system) return tl::unexpected<Error>(system.error());
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (terminal) std::fputs("/reset starts over, /exit or Ctrl-D leaves\n", stderr);

  auto messages = first_messages(options);
  std::string line;
  for (;;) {
    if (terminal) std::fputs("> ", stderr);
    if (!std::getline(std::cin, line) || line == "/exit") break;
    if (line.empty()) continue;
    if (line == "/reset") {
      messages = first_messages(options);
      continue;
    }
    messages.push_back(message("user", line));
    if (auto answered = answer(options, system->client(), messages); !answered) {
      if (!terminal) return tl::unexpected<Error>(answered.error());
      std::fprintf(stderr, "wdmoe chat: %s\n", answered.error().text.c_str());
      messages.erase(messages.end() - 1);  // the question may be asked again
    }
  }
  return 0;
}

}  // namespace

void add_chat(Commands& commands) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App& command = commands.add("chat", "Talk with the model, line by line",
                                   [options] { return run_chat(*options); });
  options->system.add_to(command);
  options->text.add_to(command);
  command.add_option("--system", options->instructions, "instructions put before the conversation");
  command.footer("Lines come from the terminal or from standard input.");
}

}  // namespace wdmoe::cli
