#include "cli/eval/sensitivity.h"

#include <numeric>

#include "common/check.h"

namespace wdmoe::cli::eval {
namespace {

double total_loss(const Outcome& outcome) {
  const auto& losses = outcome.answers.losses;
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

}  // namespace

Result<std::vector<bsd::SensitivityCurve>> measure_curves(std::size_t layers,
                                                          Span<const double> points,
                                                          const Material& material,
                                                          const RunCase& run) {
  double tokens = 0;
  for (const Question& window : material.windows)
    tokens += static_cast<double>(window.endings.front().size());
  const auto plain = run({"topk", "", {}, {}}, material);
  if (!plain) return tl::unexpected<Error>(plain.error());
  std::vector<bsd::SensitivityCurve> curves(layers);
  for (std::size_t layer = 0; layer < layers; ++layer)
    for (const double point : points) {
      std::vector<double> quality(layers, 1.0);
      quality[layer] = point;
      const auto outcome = run({"budget", "", {}, quality}, material);
      if (!outcome) return tl::unexpected<Error>(outcome.error());
      WDMOE_CHECK(outcome->layer_kept.size() == layers);
      curves[layer].push_back(
          {outcome->layer_kept[layer], (total_loss(*outcome) - total_loss(*plain)) / tokens});
    }
  return curves;
}

Result<std::vector<Outcome>> compare_budgets(const std::vector<double>& layer_quality,
                                             const Material& material, const RunCase& run) {
  const double mean = std::accumulate(layer_quality.begin(), layer_quality.end(), 0.0) /
                      static_cast<double>(layer_quality.size());
  std::vector<Outcome> outcomes;
  for (const Case& how : {Case{"topk", "", {}, {}}, Case{"budget", "", mean, {}},
                          Case{"budget", "", mean, layer_quality}}) {
    auto outcome = run(how, material);
    if (!outcome) return tl::unexpected<Error>(std::move(outcome).error());
    outcomes.push_back(*std::move(outcome));
  }
  return outcomes;
}

Halves halve(const std::vector<Question>& windows) {
  WDMOE_CHECK(windows.size() >= 2);
  Halves halves;
  for (std::size_t i = 0; i < windows.size(); ++i)
    (i % 2 == 0 ? halves.measured : halves.tried).windows.push_back(windows[i]);
  return halves;
}

}  // namespace wdmoe::cli::eval
