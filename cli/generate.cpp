// `wdmoe generate`: one prompt in, streamed text out.

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "cli/agents_report.h"
#include "cli/command.h"
#include "cli/stream.h"
#include "cli/system.h"
#include "cli/text_options.h"

namespace wdmoe::cli {
namespace {

struct GenerateOptions {
  SystemOptions system;
  TextOptions text;
  std::string prompt;
  bool trace = false, agents_report = false, as_json = false;
};

/// "-" reads standard input; a trailing newline of a file is not part of the prompt.
std::string read_prompt(const std::string& given) {
  if (given != "-") return given;
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void print_piece(const StreamPiece& piece, bool trace, unsigned index) {
  if (!trace) {
    std::fputs(piece.text.c_str(), stdout);
    std::fflush(stdout);
  } else if (piece.costs) {
    std::fputs(format_costs(index, piece).c_str(), stderr);
  }
}

Result<int> run_generate(const GenerateOptions& options) {
  auto system = System::open(options.system);
  if (!system) return tl::unexpected<Error>(system.error());
  std::vector<AgentWork> before;
  if (options.agents_report) {
    auto agents = fetch_agents(system->client());
    if (!agents) return tl::unexpected<Error>(agents.error());
    before = std::move(*agents);
  }

  const std::string prompt = read_prompt(options.prompt);
  auto body = options.text.body();
  body["prompt"] = prompt;
  const bool stream_out = !options.as_json && !options.trace;
  unsigned index = 0;
  auto summary = stream_text(system->client(), "/v1/completions", std::move(body),
                             [&](const StreamPiece& piece) {
                               if (stream_out && index == 0) std::fputs(prompt.c_str(), stdout);
                               if (!options.as_json) print_piece(piece, options.trace, index);
                               ++index;
                             });
  if (!summary) {
    if (stream_out && index > 0) std::fputs("\n", stdout);
    return tl::unexpected<Error>(summary.error());
  }
  if (options.as_json) {
    std::fputs((summary_json(*summary).dump() + "\n").c_str(), stdout);
    return 0;
  }
  if (options.trace) std::fputs((prompt + summary->text).c_str(), stdout);
  std::fputs("\n", stdout);
  std::fputs(format_summary(*summary).c_str(), stderr);
  if (options.agents_report) {
    auto after = fetch_agents(system->client());
    if (!after) return tl::unexpected<Error>(after.error());
    std::fputs(format_agents(before, *after).c_str(), stderr);
  }
  return 0;
}

}  // namespace

void add_generate(Commands& commands) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App& command = commands.add("generate", "Continue a prompt and stream the text",
                                   [options] { return run_generate(*options); });
  options->system.add_to(command);
  options->text.add_to(command);
  command.add_option("PROMPT", options->prompt, "text to continue; - reads standard input")
      ->required();
  command.add_flag("--trace", options->trace,
                   "a line per token: time at the base station, waiting for devices, bytes");
  command.add_flag("--agents-report", options->agents_report, "at the end, what each agent did");
  command.add_flag("--json", options->as_json,
                   "print one JSON object at the end instead of the text");
  command.footer(
      "example: WDMOE_URL=http://127.0.0.1:8080 wdmoe generate -n 64 'Once upon a time'");
}

}  // namespace wdmoe::cli
