#pragma once
// Which layers can spare gate mass: the loss on held-out text with one layer at a time on a budget,
// a budget for every layer made of that, and a trial of it on text that it was not made from.

#include <functional>
#include <vector>

#include "bsd/layer_budgets.h"
#include "cli/eval/report.h"

namespace wdmoe::cli::eval {

/// Runs a configuration over a material.
using RunCase = std::function<Result<Outcome>(const Case& how, const Material& material)>;

/// Each layer's increase of loss over `material.windows` while it keeps, by the policy of `like`,
/// each of `points` and all other layers everything: 1 + layers · points runs.  With an allocator
/// in `like`, also the waiting latency that saves.
Result<std::vector<bsd::SensitivityCurve>> measure_curves(std::size_t layers,
                                                          Span<const double> points,
                                                          const Case& like,
                                                          const Material& material,
                                                          const RunCase& run);

/// Plain top-k (with an equal split), then the policy of `like` with the mean of `layer_quality` in
/// every layer, and with `layer_quality`: the same mean quality, spent blindly and by layer.
Result<std::vector<Outcome>> compare_budgets(const std::vector<double>& layer_quality,
                                             const Case& like, const Material& material,
                                             const RunCase& run);

/// Windows in turn: those to measure on, and those to try the result on.  At least two windows.
struct Halves {
  Material measured, tried;
};
Halves halve(const std::vector<Question>& windows);

/// Of the held-out text: all, or one of the halves.
enum class Windows { all, measured, others };
std::vector<Question> windows_of(const std::vector<Question>& windows, Windows which);

}  // namespace wdmoe::cli::eval
