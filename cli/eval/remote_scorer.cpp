#include "cli/eval/remote_scorer.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace wdmoe::cli::eval {
namespace {

using nlohmann::json;

// A request's prompts are worked on together; more would only wait in the engine's queue.
constexpr std::size_t kPromptsPerRequest = 32;

Error not_ours(const char* path, const json::exception& error) {
  return {Code::bad_input,
          fmt::format("{}: not a wdmoe base station's answer: {}", path, error.what())};
}

}  // namespace

Result<std::unique_ptr<RemoteScorer>> RemoteScorer::connect(HttpClient client) {
  const Result<json> models = json_of(client.get("/v1/models"));
  if (!models) return tl::unexpected<Error>(models.error());
  try {
    const auto context = models->at("data").at(0).at("wdmoe").at("max_context").get<std::size_t>();
    return std::unique_ptr<RemoteScorer>(new RemoteScorer(std::move(client), context));
  } catch (const json::exception& error) {
    return tl::unexpected<Error>(not_ours("/v1/models", error));
  }
}

void RemoteScorer::use_policy(std::string policy, std::optional<double> quality) {
  policy_ = std::move(policy);
  quality_ = quality;
}

Result<std::vector<bsd::Token>> RemoteScorer::tokenize(std::string_view text,
                                                       bool add_special) const {
  const json body{{"prompt", text}, {"add_special_tokens", add_special}};
  const Result<json> answer = json_of(client_.post("/tokenize", json_text(body)));
  if (!answer) return tl::unexpected<Error>(answer.error());
  try {
    return answer->at("tokens").get<std::vector<bsd::Token>>();
  } catch (const json::exception& error) {
    return tl::unexpected<Error>(not_ours("/tokenize", error));
  }
}

Result<Scores> RemoteScorer::score(Span<const Question> questions, const OnProgress& progress) {
  Scores scores(questions.size());
  std::vector<Prompt> prompts;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const auto& [context, endings] = questions[i];
    scores[i].assign(endings.size(), 0.0);
    for (std::size_t ending = 0; ending < endings.size(); ++ending) {
      Prompt prompt{context, endings[ending].size(), &scores[i][ending]};
      prompt.tokens.insert(prompt.tokens.end(), endings[ending].begin(), endings[ending].end());
      prompts.push_back(std::move(prompt));
      if (prompts.size() < kPromptsPerRequest) continue;
      WDMOE_TRY(ask(prompts));
      prompts.clear();
    }
    if (prompts.empty()) progress(i + 1);
  }
  if (!prompts.empty()) WDMOE_TRY(ask(prompts));
  progress(questions.size());
  return scores;
}

/// One request; choice i of the answer belongs to prompt i.
Result<void> RemoteScorer::ask(Span<const Prompt> prompts) const {
  json body{{"max_tokens", 0}, {"temperature", 0}, {"echo", true}, {"logprobs", 0}};
  for (const Prompt& prompt : prompts) body["prompt"].push_back(prompt.tokens);
  if (!policy_.empty()) body["wdmoe"]["policy"] = policy_;
  if (quality_) body["wdmoe"]["quality"] = *quality_;
  const Result<json> answer = json_of(client_.post("/v1/completions", body.dump()));
  if (!answer) return tl::unexpected<Error>(answer.error());
  try {
    const json& choices = answer->at("choices");
    if (choices.size() != prompts.size())
      return fail(Code::bad_input, fmt::format("/v1/completions: {} choices for {} prompts",
                                               choices.size(), prompts.size()));
    for (const json& choice : choices) {
      const auto index = choice.at("index").get<std::size_t>();
      const json& logprobs = choice.at("logprobs").at("token_logprobs");
      if (index >= prompts.size() || logprobs.size() != prompts[index].tokens.size())
        return fail(Code::bad_input,
                    "/v1/completions: token_logprobs do not cover the prompt (echo)");
      const Prompt& prompt = prompts[index];
      for (std::size_t i = logprobs.size() - prompt.asked; i < logprobs.size(); ++i)
        *prompt.score += logprobs[i].get<double>();
    }
  } catch (const json::exception& error) {
    return tl::unexpected<Error>(not_ours("/v1/completions", error));
  }
  return {};
}

}  // namespace wdmoe::cli::eval
