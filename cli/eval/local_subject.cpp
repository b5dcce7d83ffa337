#include "cli/eval/local_subject.h"

#include <utility>

#include "bsd/moe/catalogue.h"
#include "cli/eval/metered_policy.h"
#include "common/check.h"
#include "common/threads.h"
#include "sim/cell_policy.h"
#include "weights/mixtral_names.h"

namespace wdmoe::cli::eval {

Result<std::unique_ptr<LocalSubject>> LocalSubject::open(const LocalOptions& options) {
  auto model =
      bsd::LocalModel::load(options.model, thread_count(options.threads), kEvalCacheTokens);
  if (!model) return tl::unexpected<Error>(model.error());
  auto tokenizer = bsd::Tokenizer::load((*model)->checkpoint().directory());
  if (!tokenizer) return tl::unexpected<Error>(tokenizer.error());
  std::optional<sim::Scenario> scenario;
  if (!options.scenario.empty()) {
    auto loaded = sim::load_scenario(options.scenario);
    if (!loaded) return tl::unexpected<Error>(std::move(loaded).error());
    scenario = *std::move(loaded);
  }
  return std::unique_ptr<LocalSubject>(
      new LocalSubject(*std::move(model), *std::move(tokenizer), options, std::move(scenario)));
}

LocalSubject::LocalSubject(std::unique_ptr<bsd::LocalModel> model,
                           std::unique_ptr<const bsd::Tokenizer> tokenizer,
                           const LocalOptions& options, std::optional<sim::Scenario> scenario)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      scorer_(*model_, options.batch_rows),
      scenario_(std::move(scenario)),
      seed_(options.seed) {}

Result<std::string> LocalSubject::model_id() const {
  return weights::model_id(model_->checkpoint());
}

Result<bsd::LayerBudgets> LocalSubject::load_budgets(const std::string& path) const {
  const auto id = model_id();
  if (!id) return tl::unexpected<Error>(id.error());
  return bsd::load_layer_budgets(path, *id, layers());
}

Result<Outcome> LocalSubject::run(const Case& how, const Material& material,
                                  const OnProgress& progress) {
  bsd::PolicyOptions options;
  if (how.quality) options.quality = *how.quality;
  auto policy = bsd::make_policy(how.policy, options);
  if (!policy) return tl::unexpected<Error>(policy.error());
  WDMOE_CHECK(how.allocator.empty() != scenario_.has_value());
  std::optional<sim::CellPolicy> cell;
  if (scenario_) {
    const auto sharing = bsd::sharing_from(how.allocator);
    if (!sharing) return tl::unexpected<Error>(sharing.error());
    cell.emplace(**policy, *sharing, *scenario_, seed_);
  }
  MeteredPolicy meter(cell ? static_cast<bsd::SelectionPolicy&>(*cell) : **policy,
                      how.layer_quality, how.row_quality);
  model_->decoder().set_policy(meter);
  auto answers = measure(scorer_, material, progress);
  if (!answers) return tl::unexpected<Error>(answers.error());
  if (cell) WDMOE_TRY(cell->status());
  Outcome outcome;
  outcome.how = how;
  outcome.kept_gate_mass = meter.kept_gate_mass();
  for (std::size_t layer = 0; layer < layers(); ++layer)
    outcome.layer_kept.push_back(meter.kept_gate_mass(layer));
  if (cell)
    outcome.waiting = Waiting{cell->account().waiting.count(), cell->account().exchanges,
                              cell->account().rows / layers()};
  outcome.answers = *std::move(answers);
  return outcome;
}

}  // namespace wdmoe::cli::eval
