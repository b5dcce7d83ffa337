#pragma once
// What is evaluated: a model in this process, or a running system.

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/layer_budgets.h"
#include "cli/eval/cases.h"
#include "cli/eval/measure.h"
#include "cli/eval/report.h"
#include "cli/http_client.h"

namespace wdmoe::cli::eval {

class Subject {
 public:
  virtual ~Subject() = default;
  virtual std::size_t max_context() const = 0;
  virtual Result<std::vector<bsd::Token>> tokenize(std::string_view text, bool add_special) = 0;
  /// A file of budgets that was measured on this model.
  virtual Result<bsd::LayerBudgets> load_budgets(const std::string& path) const = 0;
  /// Runs the material through one configuration, from the same start whatever ran before.
  virtual Result<Outcome> run(const Case& how, const Material& material,
                              const OnProgress& progress) = 0;
};

/// Where the questions are: `data`, or, where that is empty, eval/ in the model's folder.
std::filesystem::path data_folder(const std::string& data, const std::string& model);
/// How `subject`, which outlives it, makes tokens.
Tokenize tokenizer_of(Subject& subject);
/// The held-out text of `folder` in windows, see tokenize_windows().
Result<std::vector<Question>> load_windows(const std::filesystem::path& folder, Subject& subject,
                                           std::size_t limit);

/// A running base station, whose own cell is the real one: no allocator, no made-up latencies.
Result<std::unique_ptr<Subject>> open_remote(HttpClient client);

}  // namespace wdmoe::cli::eval
