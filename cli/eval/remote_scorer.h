#pragma once
// Scores questions through a running system's HTTP API, as any client could: prompts of token ids
// with `echo` and `logprobs`.  What a policy sees as one batch is what the engine runs in one step.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/eval/scorer.h"
#include "cli/http_client.h"

namespace wdmoe::cli::eval {

class RemoteScorer final : public Scorer {
 public:
  /// Asks the system for its context length.
  static Result<std::unique_ptr<RemoteScorer>> connect(HttpClient client);

  /// Policy of the requests that follow (the body's "wdmoe" object), each where given.
  void use_policy(std::string policy, std::optional<double> quality);

  Result<std::vector<bsd::Token>> tokenize(std::string_view text, bool add_special) const;
  std::size_t max_context() const override { return max_context_; }
  Result<Scores> score(Span<const Question> questions, const OnProgress& progress) override;

 private:
  struct Prompt {
    std::vector<bsd::Token> tokens;
    std::size_t asked;  ///< how many at its end are scored
    double* score;
  };
  RemoteScorer(HttpClient client, std::size_t max_context)
      : client_(std::move(client)), max_context_(max_context) {}
  Result<void> ask(Span<const Prompt> prompts) const;

  HttpClient client_;
  std::size_t max_context_;
  std::string policy_;
  std::optional<double> quality_;
};

}  // namespace wdmoe::cli::eval
