// `wdmoe split`: cuts a model into one folder per agent.

#include "weights/split.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/progress.h"
#include "weights/checkpoint.h"
#include "weights/model_shape.h"
#include "weights/split_plan.h"

namespace wdmoe::cli {
namespace {

struct SplitOptions {
  std::string model, plan, out, dtype, output = "text";
  std::size_t agents = 0;
  bool force = false;
};

Result<weights::SplitPlan> plan_for(const SplitOptions& options, const weights::ModelShape& shape) {
  if (options.plan.empty())
    return weights::default_plan(options.agents, shape.layers, shape.experts);
  return weights::load_plan(options.plan, shape.layers, shape.experts);
}

std::uint64_t bytes_of(const weights::ShardManifest& shard) {
  std::uint64_t bytes = 0;
  for (const auto& file : shard.files) bytes += file.bytes;
  return bytes;
}

std::string as_json(const weights::SplitReport& report, const std::string& out) {
  nlohmann::ordered_json document{{"out", out},
                                  {"model_id", report.manifest.model_id},
                                  {"on_bs", report.manifest.on_bs.size()},
                                  {"saturated", report.counts.saturated},
                                  {"flushed", report.counts.flushed},
                                  {"not_finite", report.counts.not_finite},
                                  {"shards", nlohmann::ordered_json::array()}};
  for (const auto& shard : report.manifest.shards) {
    nlohmann::ordered_json files = nlohmann::ordered_json::array();
    for (const auto& file : shard.files)
      files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
    document["shards"].push_back({{"name", shard.name},
                                  {"experts", shard.experts.size()},
                                  {"dtype", std::string(name_of(shard.dtype))},
                                  {"bytes", bytes_of(shard)},
                                  {"files", files}});
  }
  return document.dump(2) + "\n";
}

std::string as_text(const weights::SplitReport& report, const std::string& out) {
  std::string text;
  for (const auto& shard : report.manifest.shards)
    text += fmt::format("{:<20} {:>5} experts  {:>12}  {}\n", shard.name, shard.experts.size(),
                        human_bytes(bytes_of(shard)), name_of(shard.dtype));
  if (!report.manifest.on_bs.empty())
    text += fmt::format("{:<20} {:>5} experts\n", "(base station)", report.manifest.on_bs.size());
  const auto& counts = report.counts;
  if (counts.saturated + counts.flushed + counts.not_finite > 0)
    text += fmt::format(
        "note: {} weights were too large and became the largest finite value, {} became zero, {} "
        "are infinite or NaN in the source\n",
        counts.saturated, counts.flushed, counts.not_finite);
  return text + fmt::format("model {}\nwrote {}\n", report.manifest.model_id, out);
}

Result<int> run_split(const SplitOptions& options) {
  const auto checkpoint = weights::Checkpoint::open(options.model);
  if (!checkpoint) return tl::unexpected(checkpoint.error());
  const auto shape = weights::read_model_shape(checkpoint->directory());
  if (!shape) return tl::unexpected(shape.error());
  const auto plan = plan_for(options, *shape);
  if (!plan) return tl::unexpected(plan.error());

  weights::SplitOptions how;
  how.force = options.force;
  if (!options.dtype.empty()) how.dtype = *dtype_from(options.dtype);  // CLI11 has checked it
  auto bar = std::make_unique<ProgressBar>("splitting");
  how.progress = [&bar](std::uint64_t done, std::uint64_t total) { bar->update(done, total); };
  const auto report = weights::write_split(*checkpoint, *plan, options.out, how);
  bar.reset();
  if (!report) return tl::unexpected(report.error());
  const std::string text =
      options.output == "json" ? as_json(*report, options.out) : as_text(*report, options.out);
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace

void add_split(Commands& commands) {
  auto options = std::make_shared<SplitOptions>();
  CLI::App& command = commands.add("split", "Write one folder of experts per agent",
                                   [options] { return run_split(*options); });
  command.add_option("MODEL", options->model, "Hugging Face directory of a Mixtral model")
      ->required();
  auto* who = command.add_option_group("who", "who holds what");
  who->add_option("--agents", options->agents,
                  "that many agents; expert k of every layer goes to agent k mod N")
      ->check(CLI::Range(0u, 65'535u));
  who->add_option("--plan", options->plan,
                  R"(JSON file: {"agents":[{"name":"a","experts":{"all_layers":[0,1]}}, )"
                  R"({"name":"b","experts":[[LAYER,EXPERT]]}],"bs":"rest"})");
  who->require_option(1);
  command.add_option("--out", options->out, "folder to write, made if missing")->required();
  command.add_option("--dtype", options->dtype, "f16 or bf16; as in the model when not given")
      ->check(CLI::IsMember({"f16", "bf16"}));
  command.add_flag("--force", options->force, "write into a folder that is not empty");
  command.add_option("--output", options->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command.footer("example: wdmoe split models/demo --agents 4 --out shards");
}

}  // namespace wdmoe::cli
