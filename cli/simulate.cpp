// `wdmoe simulate`: policies and allocators in a made-up cell.

#include "sim/simulate.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/command.h"
#include "cli/gnuplot.h"
#include "cli/progress.h"
#include "common/process.h"
#include "common/threads.h"
#include "sim/report.h"
#include "sim/scenario.h"
#include "weights/file.h"

namespace wdmoe::cli {
namespace {

constexpr std::size_t kMostThreads = 256;

constexpr const char* kHelp = R"(
Writes into DIR: results.csv (one line per variant and seed), summary.json (means
and 95 % confidence intervals over the seeds) and figures as SVG and PNG.  Vanilla,
which the cuts refer to, is plain top-k with an equal split of the band.

Examples:
  wdmoe simulate scenarios/paper.toml --out out/paper
  wdmoe simulate --print-scenario     every key of a scenario, its range and default
docs/simulator.md explains the models, docs/results.md shows what came out.)";

struct SimulateOptions {
  std::string scenario, out;
  std::size_t threads = 0, seeds = 0, batches = 0;
  bool no_figures = false, print = false;
};

Result<sim::Scenario> scenario_of(const SimulateOptions& options) {
  auto scenario = sim::load_scenario(options.scenario);
  if (!scenario) return scenario;
  if (options.seeds > 0) scenario->run.seeds = options.seeds;
  if (options.batches > 0) scenario->workload.batches = options.batches;
  return scenario;
}

Result<int> simulate(const SimulateOptions& options) {
  if (options.print) {
    std::fputs(sim::print_scenario().c_str(), stdout);
    return 0;
  }
  if (options.scenario.empty() || options.out.empty())
    return fail(Code::bad_input, "expected SCENARIO.toml and --out DIR; see wdmoe simulate --help");
  const auto scenario = scenario_of(options);
  if (!scenario) return tl::unexpected<Error>(scenario.error());
  if (!options.no_figures && !find_program("gnuplot"))
    return fail(Code::not_found,
                "gnuplot, which draws the figures, is not installed: install gnuplot-nox or give "
                "--no-figures");
  std::error_code error;
  const std::filesystem::path out = options.out;
  std::filesystem::create_directories(out, error);
  if (error) return fail(Code::io, options.out + ": cannot be made a folder: " + error.message());

  Result<std::vector<sim::Point>> points = std::vector<sim::Point>();
  {
    ProgressBar bar("simulating " + scenario->name, "runs");
    points = sim::simulate(*scenario, thread_count(options.threads),
                           [&](std::size_t done, std::size_t total) { bar.update(done, total); });
  }
  if (!points) return tl::unexpected<Error>(std::move(points).error());
  const auto summaries = sim::summarise(*points);
  WDMOE_TRY(weights::write_text(out / "results.csv", sim::csv_of(*scenario, *points)));
  WDMOE_TRY(weights::write_text(out / "summary.json", sim::json_of(*scenario, summaries)));
  if (!options.no_figures)
    for (const sim::Figure& figure : sim::figures_of(*scenario, summaries))
      WDMOE_TRY(draw(figure.name, figure.commands, out));
  std::fputs(sim::table_of(summaries).c_str(), stdout);
  return 0;
}

}  // namespace

void add_simulate(Commands& commands) {
  const auto options = std::make_shared<SimulateOptions>();
  CLI::App& command = commands.add("simulate", "Compare policies and allocators in a made-up cell",
                                   [options] { return simulate(*options); });
  command.add_option("SCENARIO.toml", options->scenario,
                     "cell, model, workload and what to compare");
  command.add_option("--out", options->out, "folder for the results; made if missing");
  command.add_option("--threads", options->threads, "worker threads (default: one per core)")
      ->check(CLI::Range(std::size_t{1}, kMostThreads));
  command.add_option("--seeds", options->seeds, "instead of run.seeds")
      ->check(CLI::Range(std::size_t{1}, sim::kMostSeeds));
  command.add_option("--batches", options->batches, "instead of workload.batches")
      ->check(CLI::Range(std::size_t{1}, sim::kMostBatches));
  command.add_flag("--no-figures", options->no_figures, "only numbers; needs no gnuplot");
  command.add_flag("--print-scenario", options->print,
                   "print every key with its default, then end");
  command.footer(kHelp);
}

}  // namespace wdmoe::cli
