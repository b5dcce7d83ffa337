// `wdmoe bench`: how fast a system reads prompts and makes tokens, and where the time goes.
// Prefill and decode are asked for apart, so that neither blurs the other.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/stream.h"
#include "cli/system.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;

constexpr unsigned kShortPrompt = 8;  // before the decode run: next to nothing to prefill

struct BenchOptions {
  SystemOptions system;
  unsigned prompt_tokens = 0, new_tokens = 0, repetitions = 5;  // 0: see choose_lengths()
  std::uint64_t seed = 1;
  std::string output = "table";
  std::string policy;  // empty: the system's
  std::optional<double> quality;
  json own() const {  // the request's `wdmoe` object
    json object = json::object();
    if (!policy.empty()) object["policy"] = policy;
    if (quality) object["quality"] = *quality;
    return object;
  }
};

struct ServedModel {
  std::string name;
  unsigned layers = 0, vocabulary = 0, max_context = 0;
};

Result<ServedModel> ask_model(const HttpClient& client) {
  auto response = client.get("/v1/models");
  if (!response) return tl::unexpected<Error>(response.error());
  if (response->status != 200) return tl::unexpected<Error>(error_from(*response));
  try {
    const json model = json::parse(response->body).at("data").at(0);
    const json& shape = model.at("wdmoe");
    return ServedModel{model.at("id").get<std::string>(), shape.at("layers").get<unsigned>(),
                       shape.at("vocabulary").get<unsigned>(),
                       shape.at("max_context").get<unsigned>()};
  } catch (const json::exception& error) {
    return fail(Code::bad_input,
                std::string("/v1/models is not a wdmoe server's: ") + error.what());
  }
}

/// One request of random tokens; end-of-sequence does not end it.
Result<StreamSummary> ask(const HttpClient& client, const ServedModel& model,
                          std::mt19937_64& random, unsigned prompt_tokens, unsigned new_tokens,
                          const json& own) {
  std::vector<unsigned> prompt(prompt_tokens);
  for (unsigned& token : prompt) token = static_cast<unsigned>(random() % model.vocabulary);
  auto summary = stream_text(client, "/v1/completions",
                             {{"prompt", prompt},
                              {"max_tokens", new_tokens},
                              {"temperature", 0},
                              {"ignore_eos", true},
                              {"wdmoe", own}},
                             [](const StreamPiece&) {});
  if (summary && summary->token_times_s.size() != new_tokens)
    return fail(Code::bad_input, "the server made " +
                                     std::to_string(summary->token_times_s.size()) +
                                     " tokens instead of " + std::to_string(new_tokens));
  return summary;
}

/// Nearest rank; `values` not empty.
double percentile(std::vector<double> values, double share) {
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(rank),
                   values.end());
  return values[rank];
}

double median(const std::vector<double>& values) {
  return percentile(values, 0.5);
}

/// Samples of every repetition, by figure.
struct Samples {
  std::vector<double> ttft_s, decode_rate, gaps_ms, sent, received, round_trips;
  std::vector<double> kept;
  std::string policy;
  std::vector<json> prefill_stages, decode_stages;
};

void add_prefill(const StreamSummary& run, Samples& samples) {
  samples.ttft_s.push_back(run.first_token_s);
  samples.prefill_stages.push_back(run.totals.at("stages_ms"));
}

void add_decode(const StreamSummary& run, Samples& samples) {
  const auto& times = run.token_times_s;
  for (std::size_t i = 1; i < times.size(); ++i)
    samples.gaps_ms.push_back((times[i] - times[i - 1]) * 1e3);
  const double tokens = static_cast<double>(times.size() - 1);
  samples.decode_rate.push_back(tokens / (times.back() - times.front()));
  double sent = 0, received = 0, round_trips = 0;
  for (std::size_t i = 1; i < run.costs.size(); ++i) {  // the first token's pass read the prompt
    sent += static_cast<double>(run.costs[i].bytes_sent);
    received += static_cast<double>(run.costs[i].bytes_received);
    round_trips += static_cast<double>(run.costs[i].round_trips);
  }
  samples.sent.push_back(sent / tokens);
  samples.received.push_back(received / tokens);
  samples.round_trips.push_back(round_trips / tokens);
  samples.policy = run.totals.value("policy", "");
  samples.kept.push_back(run.totals.value("kept_gate_mass", 1.0));
  samples.decode_stages.push_back(run.totals.at("stages_ms"));
}

/// Median over the repetitions of each stage, in us per layer and pass.
std::vector<std::pair<std::string, double>> per_layer(const std::vector<json>& stages,
                                                      double passes, unsigned layers) {
  std::vector<std::pair<std::string, double>> rows;
  for (const char* stage :
       {"attention", "gate", "selection", "serialise", "wire_wait", "combine"}) {
    std::vector<double> values;
    for (const json& run : stages)
      values.push_back(run.at(stage).get<double>() * 1e3 / passes / layers);
    rows.emplace_back(stage, median(values));
  }
  return rows;
}

BenchReport report_of(const BenchOptions& options, const ServedModel& model,
                      const Samples& samples) {
  BenchReport report;
  report.model = model.name;
  report.in_process = !options.system.model.empty();
  report.prompt_tokens = options.prompt_tokens;
  report.new_tokens = options.new_tokens;
  report.repetitions = options.repetitions;
  report.ttft_ms = median(samples.ttft_s) * 1e3;
  report.prefill_tokens_per_s = options.prompt_tokens / median(samples.ttft_s);
  report.decode_tokens_per_s = median(samples.decode_rate);
  report.inter_token_p50_ms = percentile(samples.gaps_ms, 0.5);
  report.inter_token_p95_ms = percentile(samples.gaps_ms, 0.95);
  report.inter_token_p99_ms = percentile(samples.gaps_ms, 0.99);
  report.bytes_sent_per_token = median(samples.sent);
  report.bytes_received_per_token = median(samples.received);
  report.bytes_per_token = report.bytes_sent_per_token + report.bytes_received_per_token;
  report.round_trips_per_token = median(samples.round_trips);
  report.policy = samples.policy;
  report.kept_gate_mass = median(samples.kept);
  report.prefill_layer_us = per_layer(samples.prefill_stages, 1, model.layers);
  report.decode_layer_us = per_layer(samples.decode_stages, options.new_tokens, model.layers);
  return report;
}

constexpr unsigned kPromptTokens = 512, kNewTokens = 128;

/// Lengths that were not given become the usual ones, or what a short context holds.
Result<void> choose_lengths(BenchOptions& options, unsigned max_context) {
  if (options.prompt_tokens == 0) options.prompt_tokens = std::min(kPromptTokens, max_context - 1);
  if (options.new_tokens == 0)
    options.new_tokens = std::min(kNewTokens, max_context - kShortPrompt);
  if (options.prompt_tokens + 1 <= max_context && kShortPrompt + options.new_tokens <= max_context)
    return {};
  return fail(Code::limit, "the model's context is " + std::to_string(max_context) +
                               " tokens: give a smaller --prompt-tokens or --new-tokens");
}

Result<int> run_bench(BenchOptions options) {
  auto format = report_format_from(options.output);
  if (!format) return tl::unexpected<Error>(format.error());
  auto system = System::open(options.system);
  if (!system) return tl::unexpected<Error>(system.error());
  auto model = ask_model(system->client());
  if (!model) return tl::unexpected<Error>(model.error());
  if (model->max_context <= kShortPrompt + 1)
    return fail(Code::limit, "the model's context is too short for a benchmark");
  WDMOE_TRY(choose_lengths(options, model->max_context));

  std::mt19937_64 random(options.seed);
  Samples samples;
  const bool show_progress = isatty(STDERR_FILENO) != 0;
  for (unsigned repetition = 0; repetition <= options.repetitions; ++repetition) {
    if (show_progress) std::fprintf(stderr, "\rbench %u/%u ", repetition, options.repetitions);
    auto prefill = ask(system->client(), *model, random, options.prompt_tokens, 1, options.own());
    if (!prefill) return tl::unexpected<Error>(prefill.error());
    auto decode =
        ask(system->client(), *model, random, kShortPrompt, options.new_tokens, options.own());
    if (!decode) return tl::unexpected<Error>(decode.error());
    if (repetition == 0) continue;  // warms caches and buffers
    add_prefill(*prefill, samples);
    add_decode(*decode, samples);
  }
  if (show_progress) std::fputs("\r\033[K", stderr);
  std::fputs(format_report(report_of(options, *model, samples), *format).c_str(), stdout);
  return 0;
}

}  // namespace

void add_bench(Commands& commands) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App& command =
      commands.add("bench", "Measure prefill, decode, latencies, bytes and round trips",
                   [options] { return run_bench(*options); });
  options->system.add_to(command);
  command
      .add_option("-p,--prompt-tokens", options->prompt_tokens,
                  "length of the prefill run's prompt (default 512, or what the context holds)")
      ->check(CLI::Range(1u, 1u << 20));
  command
      .add_option("-n,--new-tokens", options->new_tokens,
                  "tokens made in the decode run (default 128, or what the context holds)")
      ->check(CLI::Range(2u, 1u << 20));
  command
      .add_option("-r,--repetitions", options->repetitions, "runs of each, after one that warms up")
      ->check(CLI::Range(1u, 1000u))
      ->capture_default_str();
  command.add_option("--policy", options->policy,
                     "choose experts by this policy instead of the system's (wdmoe policy show)");
  command
      .add_option("--quality", options->quality,
                  "least share of the gate's mass to keep, 0 to 1 (budget, minmax)")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--seed", options->seed, "of the random prompts")->capture_default_str();
  command.add_option("-o,--output", options->output, "table, json, csv or md")
      ->capture_default_str();
  command.footer(
      "Tokens per second are medians; prefill counts from sending the prompt to the first "
      "token.\nexample: wdmoe up models/demo --agents 4 -- wdmoe bench -p 256 -n 64 -o json");
}

}  // namespace wdmoe::cli
