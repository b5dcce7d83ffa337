#pragma once
// How much gate mass each layer keeps.  Layers differ in how much a dropped expert hurts; `wdmoe
// eval sensitivity` measures that once per model and writes such a file, and every policy with a
// quality knob can follow it (SelectionInput::quality of the layer).  Pure, apart from load and
// save.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/span.h"

namespace wdmoe::bsd {

/// What a layer's quality budget costs: measured with every other layer left alone.
struct SensitivityPoint {
  double kept = 1;          ///< mean kept gate mass of the layer, [0, 1]
  double nll_increase = 0;  ///< nats per token over the model as it is; below 0 is noise or luck
  /// Waiting latency that all layers of a batch save together; absent where no cell was.
  std::optional<double> saved_s = std::nullopt;
};
/// One layer's points in any order; the point (1, 0) goes without saying.
using SensitivityCurve = std::vector<SensitivityPoint>;

struct LayerBudgets {
  std::string model_id;                  ///< weights::model_id of the model measured
  std::vector<double> layers;            ///< [layers] least mean kept gate mass, [0, 1]
  std::vector<SensitivityCurve> curves;  ///< [layers] what they were made from; may be empty

  double mean() const;
};

/// Spends a mean budget where it hurts least:
///     min over kept  sum_l nll_l(kept_l)   subject to  mean_l kept_l >= mean_kept
/// with nll_l the lower convex hull of the layer's points, so that taking the flattest piece of
/// any hull first is the optimum.  No layer goes below its least measured point.
/// Errors: bad_input when there is no layer, a number is out of range, or `mean_kept` is lower than
/// the points reach.
Result<std::vector<double>> allocate_quality(Span<const SensitivityCurve> curves, double mean_kept);
/// Spends an increase of loss where it saves most time:
///     max over kept  sum_l saved_l(kept_l)   subject to  sum_l nll_l(kept_l) <= nll_increase
/// with nll_l over saved_l the lower convex hull of the layer's points (a measured decrease counts
/// as 0).  No layer goes below its least measured point; what is left then is not spent.
/// Errors: bad_input as above, where a point has no `saved_s`, and when nll_increase is negative.
Result<std::vector<double>> allocate_increase(Span<const SensitivityCurve> curves,
                                              double nll_increase);

/// {"model_id": "...", "layers": [quality, ...], "curves": [[{"kept", "nll_increase",
/// "saved_s"}, ...], ...]}; curves may be absent, and so may saved_s.  Errors (bad_input, limit)
/// say what is wrong, without the file's name.
Result<LayerBudgets> parse_layer_budgets(std::string_view text);
std::string format_layer_budgets(const LayerBudgets& budgets);

/// Reads and checks a file against the model it is for.  Errors begin with the path.
Result<LayerBudgets> load_layer_budgets(const std::filesystem::path& path,
                                        std::string_view model_id, std::size_t layers);
Result<void> save_layer_budgets(const std::filesystem::path& path, const LayerBudgets& budgets);

}  // namespace wdmoe::bsd
