#pragma once
// A model in this process as the subject of an evaluation.

#include <memory>
#include <string>

#include "bsd/local_model.h"
#include "bsd/model/tokenizer.h"
#include "cli/eval/local_scorer.h"
#include "cli/eval/subject.h"

namespace wdmoe::cli::eval {

struct LocalOptions {
  std::string model;     ///< directory
  unsigned threads = 0;  ///< 0: one per core
  std::size_t batch_rows = 512;
};

class LocalSubject final : public Subject {
 public:
  static Result<std::unique_ptr<LocalSubject>> open(const LocalOptions& options);

  std::size_t max_context() const override { return scorer_.max_context(); }
  std::size_t layers() const { return model_->config().layers; }
  Result<std::string> model_id() const;  ///< weights::model_id

  Result<std::vector<bsd::Token>> tokenize(std::string_view text, bool add_special) override {
    return tokenizer_->encode(text, add_special);
  }
  Result<Outcome> run(const Case& how, const Material& material,
                      const OnProgress& progress) override;

 private:
  LocalSubject(std::unique_ptr<bsd::LocalModel> model,
               std::unique_ptr<const bsd::Tokenizer> tokenizer, std::size_t batch_rows);

  std::unique_ptr<bsd::LocalModel> model_;
  std::unique_ptr<const bsd::Tokenizer> tokenizer_;
  LocalScorer scorer_;
};

}  // namespace wdmoe::cli::eval
