// `wdmoe eval sensitivity`: which layers can spare gate mass, measured once per model.

#include "cli/eval_sensitivity.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "bsd/layer_budgets.h"
#include "cli/eval/local_subject.h"
#include "cli/eval/sensitivity.h"
#include "cli/progress.h"
#include "weights/file.h"

namespace wdmoe::cli {
namespace {

constexpr std::size_t kMostPoints = 16;

struct EvalSensitivityOptions {
  eval::LocalOptions local;
  std::string data, out;
  std::vector<double> points{0.95, 0.85, 0.7};
  double quality = 0.9;
  std::optional<double> increase, row_quality;
  std::size_t limit = 0;
};

std::string curves_text(const bsd::LayerBudgets& budgets) {
  std::string text =
      "Increase of loss (nats per token, 1e-3) with one layer at a time on a budget:\n\n"
      "| layer | kept mass: increase | budget |\n| --- | --- | --- |\n";
  for (std::size_t layer = 0; layer < budgets.layers.size(); ++layer) {
    text += fmt::format("| {} |", layer);
    const char* separator = " ";
    for (const bsd::SensitivityPoint& point : budgets.curves[layer]) {
      text += fmt::format("{}{:.3f}: {:+.2f}", separator, point.kept, 1e3 * point.nll_increase);
      if (point.saved_s) text += fmt::format(" for {:.3f} ms", 1e3 * *point.saved_s);
      separator = ", ";
    }
    text += fmt::format(" | {:.3f} |\n", budgets.layers[layer]);
  }
  return text;
}

Result<eval::Halves> load_halves(const EvalSensitivityOptions& options,
                                 eval::LocalSubject& subject) {
  const auto windows = eval::load_windows(eval::data_folder(options.data, options.local.model),
                                          subject, options.limit);
  if (!windows) return tl::unexpected<Error>(windows.error());
  if (windows->size() < 2)
    return fail(Code::bad_input,
                "held-out text: needs two windows, one to measure on and one to "
                "try the budgets on");
  return eval::halve(*windows);
}

/// What writing the budgets would fail with, before the long work for them.
Result<void> try_to_write(const std::string& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    return fail(Code::bad_input, "--out " + file + ": is a folder; name a file to write");
  if (auto trial = weights::AtomicFile::create(file); !trial)
    return fail("--out", std::move(trial).error());
  return {};
}

/// What one layer's budget is tried with.
eval::Case sensitivity_probe(const EvalSensitivityOptions& options) {
  if (options.local.scenario.empty()) return {"budget", "", {}, {}};
  return {"minmax", "exact", {}, {}, options.row_quality};
}

Result<std::vector<double>> spend_budget(const EvalSensitivityOptions& options,
                                         const bsd::LayerBudgets& budgets) {
  if (options.increase) return bsd::allocate_increase(budgets.curves, *options.increase);
  return bsd::allocate_quality(budgets.curves, options.quality);
}

Result<int> run_eval_sensitivity(const EvalSensitivityOptions& options) {
  if (options.points.empty() || options.points.size() > kMostPoints ||
      std::any_of(options.points.begin(), options.points.end(),
                  [](double point) { return !(point >= 0 && point < 1); }))
    return fail(Code::bad_input,
                fmt::format("--points: give 1 to {} qualities, each at least 0 and "
                            "below 1",
                            kMostPoints));
  WDMOE_TRY(try_to_write(options.out));
  auto subject = eval::LocalSubject::open(options.local);
  if (!subject) return tl::unexpected<Error>(std::move(subject).error());
  const auto id = (*subject)->model_id();
  if (!id) return tl::unexpected<Error>(id.error());
  const auto halves = load_halves(options, **subject);
  if (!halves) return tl::unexpected<Error>(halves.error());

  const std::size_t layers = (*subject)->layers();
  bsd::LayerBudgets budgets{*id, {}, {}};
  Result<std::vector<eval::Outcome>> tried;
  {
    ProgressBar bar("sensitivity", "runs");
    const std::size_t runs = 1 + layers * options.points.size() + 3;
    std::size_t done = 0;
    const eval::RunCase run_case = [&](const eval::Case& how, const eval::Material& material) {
      bar.update(done++, runs);
      return (*subject)->run(how, material, [](std::size_t) {});
    };
    auto curves = eval::measure_curves(layers, options.points, sensitivity_probe(options),
                                       halves->measured, run_case);
    if (!curves) return tl::unexpected<Error>(std::move(curves).error());
    budgets.curves = *std::move(curves);
    auto kept = spend_budget(options, budgets);
    if (!kept) return fail(options.increase ? "--increase" : "--quality", std::move(kept).error());
    budgets.layers = *std::move(kept);
    tried =
        eval::compare_budgets(budgets.layers, sensitivity_probe(options), halves->tried, run_case);
    if (!tried) return tl::unexpected<Error>(tried.error());
  }
  WDMOE_TRY(bsd::save_layer_budgets(options.out, budgets));
  const eval::ReportHead head{options.local.model + ", other text than was measured on",
                              options.local.scenario, options.local.seed};
  std::fputs((curves_text(budgets) + "\n" +
              eval::format_report(head, halves->tried, *tried, eval::Format::md) + "\nwrote " +
              options.out + "\n")
                 .c_str(),
             stdout);
  return 0;
}

}  // namespace

void add_eval_sensitivity(CLI::App& group, Commands& commands) {
  const auto options = std::make_shared<EvalSensitivityOptions>();
  CLI::App& command = *group.add_subcommand(
      "sensitivity", "Measure which layers can spare gate mass, and write a budget for each");
  command.callback([&commands, options] {
    commands.chosen = [options] { return run_eval_sensitivity(*options); };
  });
  command.add_option("--model", options->local.model, "Hugging Face directory")->required();
  command.add_option("--out", options->out, "file of budgets to write (JSON)")->required();
  auto* quality =
      command.add_option("--quality", options->quality, "mean kept gate mass over the layers")
          ->check(CLI::Range(0.0, 1.0))
          ->capture_default_str();
  auto* scenario = command.add_option(
      "--scenario", options->local.scenario,
      "cell (TOML) to measure in with minmax and exact allocation: also what time a layer saves");
  command
      .add_option("--increase", options->increase,
                  "in place of --quality: loss to spend, nats a token, where it saves most time")
      ->check(CLI::NonNegativeNumber)
      ->needs(scenario)
      ->excludes(quality);
  command
      .add_option("--row-quality", options->row_quality,
                  "least kept gate mass of every single row while measuring in a cell")
      ->check(CLI::Range(0.0, 1.0))
      ->needs(scenario);
  command.add_option("--seed", options->local.seed, "of the cell's channels")
      ->needs(scenario)
      ->capture_default_str();
  command.add_option("--points", options->points, "qualities at which each layer is measured")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--data", options->data,
                     "folder with heldout.txt (default: eval/ in the model's)");
  command.add_option("--limit", options->limit, "only the first so many windows of text; 0: all");
  command.add_option("--threads", options->local.threads, "compute threads; 0: one per core");
  command.add_option("--batch-rows", options->local.batch_rows, "most rows of one step")
      ->check(CLI::Range(std::size_t{1}, eval::LocalScorer::kMostBatchRows))
      ->capture_default_str();
  command.footer(
      "Every second window of 512 tokens is measured on, the others show what the budgets are\n"
      "worth: the policy `budget` (in a cell: `minmax` with exact allocation) with the same "
      "quality\n"
      "in every layer, and with these.");
}

}  // namespace wdmoe::cli
