// `wdmoe eval`: how good a model stays when a policy chooses its experts, and how long a cell would
// wait for them.

#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "bsd/layer_budgets.h"
#include "bsd/moe/catalogue.h"
#include "cli/base_station.h"
#include "cli/command.h"
#include "cli/eval/dataset.h"
#include "cli/eval/local_subject.h"
#include "cli/eval/sensitivity.h"
#include "cli/eval_sensitivity.h"
#include "cli/progress.h"

namespace wdmoe::cli {
namespace {

struct EvalOptions {
  eval::LocalOptions local;
  BaseStation bsd;
  std::string data;
  std::vector<std::string> sets;
  bool with_sets = false, with_heldout = false;
  std::size_t limit = 0;
  std::vector<std::string> policies, allocators{"equal", "exact"};
  std::vector<double> qualities;
  std::optional<double> row_quality;
  std::string layer_budgets;
  std::vector<double> increases;
  eval::Windows windows = eval::Windows::all;
  eval::Format format = eval::Format::md;
};

Result<std::unique_ptr<eval::Subject>> open_subject(const EvalOptions& options) {
  if (!options.local.model.empty()) {
    auto local = eval::LocalSubject::open(options.local);
    if (!local) return tl::unexpected<Error>(std::move(local).error());
    return *std::move(local);
  }
  auto client = options.bsd.client();
  if (!client) return tl::unexpected<Error>(client.error());
  return eval::open_remote(*std::move(client));
}

Result<eval::Material> load_material(const EvalOptions& options, eval::Subject& subject) {
  if (options.data.empty() && options.local.model.empty())
    return fail(Code::bad_input, "with --bsd, --data must name the folder with evaluation sets");
  const std::filesystem::path folder = eval::data_folder(options.data, options.local.model);
  eval::Material material;
  if (options.with_sets) {
    const auto sets = eval::load_task_sets(folder, options.sets, options.limit);
    if (!sets) return tl::unexpected<Error>(sets.error());
    auto tokenized = eval::tokenize_sets(*sets, eval::tokenizer_of(subject), subject.max_context());
    if (!tokenized) return tl::unexpected<Error>(std::move(tokenized).error());
    material.sets = *std::move(tokenized);
  }
  if (options.with_heldout) {
    auto windows = eval::load_windows(folder, subject, options.limit);
    if (!windows) return tl::unexpected<Error>(std::move(windows).error());
    material.windows = eval::windows_of(*windows, options.windows);
    if (material.windows.empty())
      return fail(Code::bad_input, "--windows: the held-out text has no such window");
  }
  return material;
}

/// Puts the file's budgets, or what its curves make of a configuration's quality or of each of
/// `increases`, into every configuration with that knob.
Result<void> give_layer_budgets(const std::string& file, Span<const double> increases,
                                const eval::Subject& subject, std::vector<eval::Case>& cases) {
  const auto loaded = subject.load_budgets(file);
  if (!loaded) return tl::unexpected<Error>(loaded.error());
  std::vector<eval::Case> given;
  const auto give = [&](eval::Case how, const Result<std::vector<double>>& kept) -> Result<void> {
    if (!kept) return fail(file, kept.error());
    how.layer_quality = *kept;
    how.quality = bsd::LayerBudgets{{}, *kept, {}}.mean();
    given.push_back(std::move(how));
    return {};
  };
  for (const eval::Case& how : cases) {
    if (!bsd::reads_quality(how.policy)) {
      given.push_back(how);
    } else if (how.quality) {
      WDMOE_TRY(give(how, bsd::allocate_quality(loaded->curves, *how.quality)));
    } else if (increases.empty()) {
      WDMOE_TRY(give(how, loaded->layers));
    }
    for (const double increase : increases)
      if (bsd::reads_quality(how.policy))
        WDMOE_TRY(give(how, bsd::allocate_increase(loaded->curves, increase)));
  }
  cases = std::move(given);
  return {};
}

/// A running system without --policy: one configuration, the system as it is set up.
Result<std::vector<eval::Case>> choose_cases(const EvalOptions& options, bool in_cell) {
  Result<std::vector<eval::Case>> cases(1);
  if (!options.local.model.empty() || !options.policies.empty())
    cases =
        eval::cases_of(options.policies, in_cell ? options.allocators : std::vector<std::string>(),
                       options.qualities);
  if (!cases) return cases;
  if (!options.qualities.empty()) WDMOE_TRY(eval::check_quality_is_read(*cases, "--quality"));
  if (options.row_quality) WDMOE_TRY(eval::check_quality_is_read(*cases, "--row-quality"));
  if (!options.layer_budgets.empty())
    WDMOE_TRY(eval::check_quality_is_read(*cases, "--layer-budgets"));
  return cases;
}

Result<int> run_eval(const EvalOptions& options) {
  const bool in_cell = !options.local.scenario.empty();
  if (in_cell && options.local.model.empty())
    return fail(Code::bad_input, "--scenario needs --model: a running system has a real cell");
  auto cases = choose_cases(options, in_cell);
  if (!cases) return tl::unexpected<Error>(std::move(cases).error());
  auto subject = open_subject(options);
  if (!subject) return tl::unexpected<Error>(std::move(subject).error());
  for (eval::Case& how : *cases)
    if (bsd::reads_quality(how.policy)) how.row_quality = options.row_quality;
  if (!options.layer_budgets.empty())
    WDMOE_TRY(give_layer_budgets(options.layer_budgets, options.increases, **subject, *cases));
  const auto material = load_material(options, **subject);
  if (!material) return tl::unexpected<Error>(material.error());

  std::vector<eval::Outcome> outcomes;
  {
    ProgressBar bar("eval", "questions");
    const std::size_t each = material->questions();
    for (const eval::Case& how : *cases) {
      const std::size_t before = outcomes.size() * each;
      const auto progress = [&](std::size_t done) {
        bar.update(before + done, each * cases->size());
      };
      auto outcome = (*subject)->run(how, *material, progress);
      if (!outcome) return tl::unexpected<Error>(std::move(outcome).error());
      outcomes.push_back(*std::move(outcome));
    }
  }
  eval::ReportHead head;
  head.model = options.local.model.empty() ? options.bsd.url : options.local.model;
  head.scenario = options.local.scenario;
  head.seed = options.local.seed;
  std::fputs(eval::format_report(head, *material, outcomes, options.format).c_str(), stdout);
  return 0;
}

void add_options(CLI::App& command, EvalOptions& options) {
  auto* url = options.bsd.add_to(command, "a running base station");
  command
      .add_option("--model", options.local.model, "Hugging Face directory; runs in this process")
      ->excludes(url);
  command.add_option("--threads", options.local.threads,
                     "compute threads with --model; 0: one per core");
  command.add_option("--data", options.data,
                     "folder of *.jsonl sets and heldout.txt (default: eval/ in the model's)");
  command
      .add_option(
          "--policy", options.policies,
          "selection policies, separated by commas (default: topk; with --bsd: the system's)")
      ->delimiter(',');
  command
      .add_option("--quality", options.qualities,
                  "mean kept gate mass for budget and minmax, 0 to 1; several: a row for each")
      ->delimiter(',');
  auto* scenario =
      command.add_option("--scenario", options.local.scenario,
                         "cell whose devices hold the experts (TOML, see wdmoe simulate)");
  command.add_option("--allocator", options.allocators, "equal and exact, how the band is split")
      ->delimiter(',')
      ->needs(scenario)
      ->capture_default_str();
  command.add_option("--seed", options.local.seed, "of the cell's channels")
      ->needs(scenario)
      ->capture_default_str();
  auto* budgets =
      command.add_option("--layer-budgets", options.layer_budgets,
                         "a quality for each layer, from wdmoe eval sensitivity; with --quality: "
                         "the best split of that mean");
  command
      .add_option("--increase", options.increases,
                  "in place of --quality: loss for the layers to spend, nats a token, where it "
                  "saves most time; several: a row for each")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->needs(budgets)
      ->excludes("--quality");
  command
      .add_option("--row-quality", options.row_quality,
                  "least kept gate mass of every single row, for budget and minmax")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--limit", options.limit,
                     "only the first so many questions of each set and windows of text; 0: all");
  command
      .add_option("--batch-rows", options.local.batch_rows,
                  "most rows of one step with --model: what a policy decides at once")
      ->check(CLI::Range(std::size_t{1}, eval::LocalScorer::kMostBatchRows))
      ->capture_default_str();
  const std::map<std::string, eval::Format> formats{
      {"md", eval::Format::md}, {"csv", eval::Format::csv}, {"json", eval::Format::json}};
  command.add_option("-o,--output", options.format, "md, csv or json")
      ->transform(CLI::CheckedTransformer(formats));
}

}  // namespace

void add_eval(Commands& commands) {
  CLI::App& group = *commands.app.add_subcommand(
      "eval", "Measure how good a model stays under selection policies");
  group.require_subcommand(1);
  const auto add = [&](const char* name, const char* help, bool sets, bool heldout) {
    const auto options = std::make_shared<EvalOptions>();
    options->with_sets = sets;
    options->with_heldout = heldout;
    CLI::App& command = *group.add_subcommand(name, help);
    command.callback(
        [&commands, options] { commands.chosen = [options] { return run_eval(*options); }; });
    add_options(command, *options);
    if (sets)
      command
          .add_option("--sets", options->sets, "only these evaluation sets, separated by commas")
          ->delimiter(',');
    const std::map<std::string, eval::Windows> windows{{"all", eval::Windows::all},
                                                       {"measured", eval::Windows::measured},
                                                       {"others", eval::Windows::others}};
    if (heldout)
      command
          .add_option("--windows", options->windows,
                      "all of the held-out text, what eval sensitivity measured on, or the others")
          ->transform(CLI::CheckedTransformer(windows));
    command.footer(
        "The first row is plain top-k (with --bsd and no --policy the only one, the system as it "
        "is\n"
        "set up), with which all others are compared question by question.\n"
        "A step's rows are one batch to a policy; with --model: as many contexts as fit into\n"
        "--batch-rows, then their endings; with --bsd: what the engine runs together.");
  };
  add("tasks", "Accuracy on multiple-choice sets, by the likelihood of each choice", true, false);
  add("perplexity", "Perplexity of held-out text, in windows of 512 tokens", false, true);
  add("all", "Both in one table", true, true);
  add_eval_sensitivity(group, commands);
}

}  // namespace wdmoe::cli
