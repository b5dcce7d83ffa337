// `wdmoe logits`: what the model predicts after every given token, as JSON; for checks.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bsd/local_model.h"
#include "cli/base_station.h"
#include "cli/command.h"
#include "cli/http_client.h"
#include "common/threads.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kChunk = 256;                        // rows of one step
constexpr std::size_t kMostLogits = std::size_t{1} << 22;  // floats of one step: 16 MiB

struct LogitsOptions {
  BaseStation bsd;
  std::string model, token_list;
  std::vector<bsd::Token> tokens;
  unsigned threads = 0;
};

/// "1,2,3"; nothing else, and at least one.
Result<std::vector<bsd::Token>> parse_tokens(const std::string& list) {
  std::vector<bsd::Token> tokens;
  const char* at = list.data();
  const char* const end = at + list.size();
  for (;;) {
    bsd::Token token{};
    const auto [after, error] = std::from_chars(at, end, token);
    if (error != std::errc() || (after != end && *after != ','))
      return fail(Code::bad_input, "--tokens '" + list + "': expected token ids such as 1,2,3");
    tokens.push_back(token);
    if (after == end) return tokens;
    at = after + 1;
  }
}

/// "[1.5,-2,null]": shortest text that reads back as the same float; null where it is no number.
void append_row(const float* row, std::size_t count, std::string& out) {
  out += '[';
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    if (std::isfinite(row[i]))
      fmt::format_to(std::back_inserter(out), "{}", row[i]);
    else
      out += "null";
  }
  out += ']';
}

std::string prefix_of(const LogitsOptions& options) {
  return R"({"tokens":)" + json(options.tokens).dump() + R"(,"logits":[)";
}

/// Everything in this process; rows are printed as they come.
Result<int> run_local(const LogitsOptions& options) {
  auto model =
      bsd::LocalModel::load(options.model, thread_count(options.threads), options.tokens.size());
  if (!model) return tl::unexpected<Error>(model.error());
  const auto sequence = (*model)->cache().open();
  WDMOE_TRY(sequence->reserve(options.tokens.size()));
  const std::size_t chunk =
      std::clamp<std::size_t>(kMostLogits / (*model)->config().vocabulary, 1, kChunk);
  std::string out = prefix_of(options);
  for (std::size_t first = 0; first < options.tokens.size(); first += chunk) {
    const std::size_t count = std::min(chunk, options.tokens.size() - first);
    const bsd::Slice slice{
        sequence.get(), {options.tokens.data() + first, count}, bsd::Slice::Logits::all};
    bsd::StepCosts costs;
    const auto logits = (*model)->decoder().step({&slice, 1}, costs);
    if (!logits) return tl::unexpected<Error>(logits.error());
    for (std::size_t row = 0; row < count; ++row) {
      if (first + row > 0) out += ',';
      append_row(logits->row(row), logits->cols, out);
    }
    std::fputs(out.c_str(), stdout);
    out.clear();
  }
  std::fputs("]}\n", stdout);
  return 0;
}

/// The same through a running system.
Result<int> run_remote(const LogitsOptions& options) {
  auto client = options.bsd.client();
  if (!client) return tl::unexpected<Error>(client.error());
  const auto response = client->post("/wdmoe/v1/logits", json({{"tokens", options.tokens}}).dump());
  if (!response) return tl::unexpected<Error>(response.error());
  if (response->status != 200) return tl::unexpected<Error>(error_from(*response));
  const json body = json::parse(response->body, nullptr, /*allow_exceptions=*/false);
  const auto logits = body.is_object() ? body.find("logits") : body.end();
  if (!body.is_object() || logits == body.end() || !logits->is_array() ||
      logits->size() != options.tokens.size())
    return fail(Code::bad_input,
                "/wdmoe/v1/logits: expected one row of logits for each token; is " +
                    client->host() + " a base station of this version?");
  std::string out = prefix_of(options);
  bool first = true;
  for (const json& row : *logits) {
    std::vector<float> values;
    for (const json& value : row)
      values.push_back(value.is_number() ? value.get<float>() : std::nanf(""));
    if (!first) out += ',';
    append_row(values.data(), values.size(), out);
    first = false;
  }
  std::fputs((out + "]}\n").c_str(), stdout);
  return 0;
}

Result<int> run_logits(LogitsOptions options) {
  auto tokens = parse_tokens(options.token_list);
  if (!tokens) return tl::unexpected<Error>(std::move(tokens).error());
  options.tokens = std::move(*tokens);
  return options.model.empty() ? run_remote(options) : run_local(options);
}

}  // namespace

void add_logits(Commands& commands) {
  const auto options = std::make_shared<LogitsOptions>();
  CLI::App& command = commands.add(
      "logits", "Print the logits of every position as JSON: {\"tokens\":[…],\"logits\":[[…]…]}",
      [options] { return run_logits(*options); });
  auto* model = command.add_option("MODEL", options->model,
                                   "Hugging Face directory; its experts run in this process");
  options->bsd.add_to(command, "ask a running base station instead")->excludes(model);
  command.add_option("--tokens", options->token_list, "token ids, separated by commas")->required();
  command.add_option("--threads", options->threads, "compute threads with MODEL; 0: one per core");
}

}  // namespace wdmoe::cli
