// `wdmoe plan`: decides who holds which expert, before a model is cut.

#include <cstdio>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/placement.h"
#include "weights/checkpoint.h"
#include "weights/file.h"
#include "weights/inventory.h"
#include "weights/model_shape.h"
#include "weights/split_plan.h"

namespace wdmoe::cli {
namespace {

constexpr std::size_t kMostBatchRows = 16384;

constexpr const char* kHelp = R"(
CELL.toml lists the devices, as a scenario of `wdmoe simulate` does:

  [cell]
  medium = "airtime"       # Wi-Fi; every key: wdmoe simulate --print-scenario
  bandwidth_hz = 80e6
  [[device]]
  name = "kitchen"         # the agent's name
  distance_m = 8
  power_w = 0.1
  compute_flops = 2e12     # FLOP/s it reaches
  memory_bytes = 12e9      # for experts

Predictions use the exact bandwidth allocation at mean gains, and a trace's
popularity of the experts if one is given (wdmoe trace record).

Example:
  wdmoe plan models/demo --cell scenarios/testbed.toml --replicas --out plan.json
  wdmoe split models/demo --plan plan.json --out shards)";

struct PlanOptions {
  std::string model, cell, trace, placement = "latency", out, output = "text";
  std::size_t rows = 64;
  bool replicas = false;
};

Result<PlacementRequest> request_for(const PlanOptions& options) {
  const auto checkpoint = weights::Checkpoint::open(options.model);
  if (!checkpoint) return tl::unexpected<Error>(checkpoint.error());
  const auto shape = weights::read_model_shape(checkpoint->directory());
  if (!shape) return tl::unexpected<Error>(shape.error());
  PlacementRequest request;
  request.layers = shape->layers;
  request.experts = shape->experts;
  request.top_k = shape->experts_per_token;
  request.hidden = shape->hidden;
  request.ffn = shape->ffn;
  request.rows = options.rows;
  request.paper = options.placement == "paper";
  request.replicas = options.replicas;
  const auto inventory = weights::take_inventory(*checkpoint);
  const auto experts = inventory.parts.find(weights::Part::expert);
  if (experts == inventory.parts.end() || experts->second.bytes == 0)
    return fail(Code::bad_input, options.model + ": holds no experts; expected a Mixtral model");
  const std::uint64_t count = shape->layers * shape->experts;
  request.expert_bytes = (experts->second.bytes + count - 1) / count;
  if (options.trace.empty()) {
    request.popularity = uniform_popularity(shape->layers, shape->experts, request.top_k);
    return request;
  }
  auto popularity = popularity_of(options.trace, shape->layers, shape->experts, request.top_k);
  if (!popularity) return tl::unexpected<Error>(std::move(popularity).error());
  request.popularity = std::move(*popularity);
  return request;
}

Result<int> run_plan(const PlanOptions& options) {
  const auto cell = sim::load_scenario(options.cell);
  if (!cell) return tl::unexpected<Error>(cell.error());
  const auto request = request_for(options);
  if (!request) return tl::unexpected<Error>(request.error());
  const auto plan = forecast(*request, *cell);
  if (!plan) return fail(options.cell, plan.error());
  const std::string file = plan_file(*plan);
  // What `wdmoe split` would say about it (a device's name may be no agent's name).
  const auto readable = weights::parse_plan(file, request->layers, request->experts);
  if (!readable) return fail(options.cell, readable.error());
  WDMOE_TRY(weights::write_text(options.out, file));
  const std::string text = options.output == "json"
                               ? as_json(*plan, *request).dump(2) + "\n"
                               : as_text(*plan, *request) + "wrote " + options.out + "\n";
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace

void add_plan(Commands& commands) {
  const auto options = std::make_shared<PlanOptions>();
  CLI::App& command = commands.add("plan", "Decide which agent holds which expert",
                                   [options] { return run_plan(*options); });
  command.add_option("MODEL", options->model, "Hugging Face directory of a Mixtral model")
      ->required();
  command.add_option("--cell", options->cell, "CELL.toml: devices, links and memory")->required();
  command.add_option("--trace", options->trace,
                     "recorded trace: experts' popularity (default: all alike)");
  command
      .add_option("--placement", options->placement,
                  "latency: least predicted waiting latency; paper: expert k on device k mod N")
      ->check(CLI::IsMember({"latency", "paper"}))
      ->capture_default_str();
  command.add_flag("--replicas", options->replicas,
                   "fill memory left over with copies that lower the latency");
  command.add_option("--rows", options->rows, "rows of the batch that is predicted")
      ->check(CLI::Range(std::size_t{1}, kMostBatchRows))
      ->capture_default_str();
  command.add_option("--out", options->out, "plan file to write, for wdmoe split --plan")
      ->required();
  command.add_option("--output", options->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command.footer(kHelp);
}

}  // namespace wdmoe::cli
