#pragma once
// A model in this process as the subject of an evaluation; a made-up cell (sim/) says what each
// layer of each step would have waited for its devices.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "bsd/local_model.h"
#include "bsd/model/tokenizer.h"
#include "cli/eval/local_scorer.h"
#include "cli/eval/subject.h"
#include "sim/scenario.h"

namespace wdmoe::cli::eval {

struct LocalOptions {
  std::string model;     ///< directory
  unsigned threads = 0;  ///< 0: one per core
  std::size_t batch_rows = 512;
  std::string scenario;    ///< file of the cell; empty: none, latencies are not known
  std::uint64_t seed = 1;  ///< of the cell: every configuration meets the same one
};

class LocalSubject final : public Subject {
 public:
  static Result<std::unique_ptr<LocalSubject>> open(const LocalOptions& options);

  std::size_t max_context() const override { return scorer_.max_context(); }
  std::size_t layers() const { return model_->config().layers; }
  Result<std::string> model_id() const;  ///< weights::model_id

  Result<bsd::LayerBudgets> load_budgets(const std::string& path) const override;
  Result<std::vector<bsd::Token>> tokenize(std::string_view text, bool add_special) override {
    return tokenizer_->encode(text, add_special);
  }
  /// `how.allocator` is given exactly if there is a scenario.
  Result<Outcome> run(const Case& how, const Material& material,
                      const OnProgress& progress) override;

 private:
  LocalSubject(std::unique_ptr<bsd::LocalModel> model,
               std::unique_ptr<const bsd::Tokenizer> tokenizer, const LocalOptions& options,
               std::optional<sim::Scenario> scenario);

  std::unique_ptr<bsd::LocalModel> model_;
  std::unique_ptr<const bsd::Tokenizer> tokenizer_;
  LocalScorer scorer_;
  std::optional<sim::Scenario> scenario_;
  std::uint64_t seed_;
};

}  // namespace wdmoe::cli::eval
