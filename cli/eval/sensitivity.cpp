#include "cli/eval/sensitivity.h"

#include <numeric>

#include "common/check.h"

namespace wdmoe::cli::eval {
namespace {

double total_loss(const Outcome& outcome) {
  const auto& losses = outcome.answers.losses;
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

/// Mean over the batches of what one waits in all of its layers.
double batch_s(const Waiting& waiting, std::size_t layers) {
  return waiting.total_s * static_cast<double>(layers) / static_cast<double>(waiting.exchanges);
}

}  // namespace

Result<std::vector<bsd::SensitivityCurve>> measure_curves(std::size_t layers,
                                                          Span<const double> points,
                                                          const Case& like,
                                                          const Material& material,
                                                          const RunCase& run) {
  double tokens = 0;
  for (const Question& window : material.windows)
    tokens += static_cast<double>(window.endings.front().size());
  const auto plain = run({"topk", like.allocator, {}, {}}, material);
  if (!plain) return tl::unexpected<Error>(plain.error());
  std::vector<bsd::SensitivityCurve> curves(layers);
  for (std::size_t layer = 0; layer < layers; ++layer)
    for (const double point : points) {
      Case how = like;
      how.layer_quality.assign(layers, 1.0);
      how.layer_quality[layer] = point;
      const auto outcome = run(how, material);
      if (!outcome) return tl::unexpected<Error>(outcome.error());
      WDMOE_CHECK(outcome->layer_kept.size() == layers);
      curves[layer].push_back(
          {outcome->layer_kept[layer], (total_loss(*outcome) - total_loss(*plain)) / tokens});
      if (outcome->waiting && plain->waiting)
        curves[layer].back().saved_s =
            batch_s(*plain->waiting, layers) - batch_s(*outcome->waiting, layers);
    }
  return curves;
}

Result<std::vector<Outcome>> compare_budgets(const std::vector<double>& layer_quality,
                                             const Case& like, const Material& material,
                                             const RunCase& run) {
  const double mean = std::accumulate(layer_quality.begin(), layer_quality.end(), 0.0) /
                      static_cast<double>(layer_quality.size());
  std::vector<Outcome> outcomes;
  Case blind = like, by_layer = like;
  blind.quality = by_layer.quality = mean;
  by_layer.layer_quality = layer_quality;
  const std::string vanilla = like.allocator.empty() ? "" : "equal";
  for (const Case& how : {Case{"topk", vanilla, {}, {}}, blind, by_layer}) {
    auto outcome = run(how, material);
    if (!outcome) return tl::unexpected<Error>(std::move(outcome).error());
    outcomes.push_back(*std::move(outcome));
  }
  return outcomes;
}

Halves halve(const std::vector<Question>& windows) {
  WDMOE_CHECK(windows.size() >= 2);
  return {{{}, windows_of(windows, Windows::measured)}, {{}, windows_of(windows, Windows::others)}};
}

std::vector<Question> windows_of(const std::vector<Question>& windows, Windows which) {
  if (which == Windows::all) return windows;
  std::vector<Question> half;
  for (std::size_t i = which == Windows::measured ? 0 : 1; i < windows.size(); i += 2)
    half.push_back(windows[i]);
  return half;
}

}  // namespace wdmoe::cli::eval
