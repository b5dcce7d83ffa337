#include "cli/eval/local_subject.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "bsd/moe/catalogue.h"
#include "cli/eval/metered_policy.h"
#include "weights/mixtral_names.h"

namespace wdmoe::cli::eval {

Result<std::unique_ptr<LocalSubject>> LocalSubject::open(const LocalOptions& options) {
  const std::size_t threads =
      options.threads != 0 ? options.threads : std::max(std::thread::hardware_concurrency(), 1u);
  auto model = bsd::LocalModel::load(options.model, threads, kEvalCacheTokens);
  if (!model) return tl::unexpected<Error>(model.error());
  auto tokenizer = bsd::Tokenizer::load((*model)->checkpoint().directory());
  if (!tokenizer) return tl::unexpected<Error>(tokenizer.error());
  return std::unique_ptr<LocalSubject>(
      new LocalSubject(*std::move(model), *std::move(tokenizer), options.batch_rows));
}

LocalSubject::LocalSubject(std::unique_ptr<bsd::LocalModel> model,
                           std::unique_ptr<const bsd::Tokenizer> tokenizer, std::size_t batch_rows)
    : model_(std::move(model)), tokenizer_(std::move(tokenizer)), scorer_(*model_, batch_rows) {}

Result<std::string> LocalSubject::model_id() const {
  return weights::model_id(model_->checkpoint());
}

Result<Outcome> LocalSubject::run(const Case& how, const Material& material,
                                  const OnProgress& progress) {
  bsd::PolicyOptions options;
  if (how.quality) options.quality = *how.quality;
  auto policy = bsd::make_policy(how.policy, options);
  if (!policy) return tl::unexpected<Error>(policy.error());
  MeteredPolicy meter(**policy, how.layer_quality);
  model_->decoder().set_policy(meter);
  auto answers = measure(scorer_, material, progress);
  if (!answers) return tl::unexpected<Error>(answers.error());
  Outcome outcome;
  outcome.how = how;
  outcome.kept_gate_mass = meter.kept_gate_mass();
  for (std::size_t layer = 0; layer < layers(); ++layer)
    outcome.layer_kept.push_back(meter.kept_gate_mass(layer));
  outcome.answers = *std::move(answers);
  return outcome;
}

}  // namespace wdmoe::cli::eval
