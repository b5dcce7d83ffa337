#include "cli/eval/subject.h"

#include <utility>

#include "cli/eval/remote_scorer.h"

namespace wdmoe::cli::eval {
namespace {

class RemoteSubject final : public Subject {
 public:
  explicit RemoteSubject(std::unique_ptr<RemoteScorer> scorer) : scorer_(std::move(scorer)) {}

  std::size_t max_context() const override { return scorer_->max_context(); }

  Result<std::vector<bsd::Token>> tokenize(std::string_view text, bool add_special) override {
    return scorer_->tokenize(text, add_special);
  }

  Result<bsd::LayerBudgets> load_budgets(const std::string&) const override {
    return fail(Code::unsupported,
                "--layer-budgets needs --model: a running system has budgets of its own");
  }

  Result<Outcome> run(const Case& how, const Material& material,
                      const OnProgress& progress) override {
    if (how.row_quality)
      return fail(Code::unsupported, "--row-quality needs --model: the API has no such field");
    scorer_->use_policy(how.policy, how.quality);
    auto answers = measure(*scorer_, material, progress);
    if (!answers) return tl::unexpected<Error>(answers.error());
    Outcome outcome;
    outcome.how = how;
    outcome.answers = *std::move(answers);
    return outcome;
  }

 private:
  std::unique_ptr<RemoteScorer> scorer_;
};

}  // namespace

std::filesystem::path data_folder(const std::string& data, const std::string& model) {
  return data.empty() ? std::filesystem::path(model) / "eval" : std::filesystem::path(data);
}

Tokenize tokenizer_of(Subject& subject) {
  return [&subject](std::string_view text, bool add_special) {
    return subject.tokenize(text, add_special);
  };
}

Result<std::vector<Question>> load_windows(const std::filesystem::path& folder, Subject& subject,
                                           std::size_t limit) {
  const auto text = load_heldout(folder);
  if (!text) return tl::unexpected<Error>(text.error());
  return tokenize_windows(*text, tokenizer_of(subject), subject.max_context(), limit);
}

Result<std::unique_ptr<Subject>> open_remote(HttpClient client) {
  auto scorer = RemoteScorer::connect(std::move(client));
  if (!scorer) return tl::unexpected<Error>(scorer.error());
  return std::make_unique<RemoteSubject>(*std::move(scorer));
}

}  // namespace wdmoe::cli::eval
