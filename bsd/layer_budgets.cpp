#include "bsd/layer_budgets.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <nlohmann/json.hpp>

#include "bsd/json_depth.h"
#include "weights/file.h"

namespace wdmoe::bsd {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMostBytes = std::size_t{1} << 20;  // 1024 layers x 64 points fit thrice
constexpr std::size_t kMostLayers = 1024;
constexpr std::size_t kMostPoints = 64;
constexpr std::size_t kMostDepth = 4;
constexpr double kMostIncrease = 1e3;  // nats; the log of a vocabulary is about 12

/// Piece of a layer's convex hull: giving up `mass` costs `slope` nats per unit of it.
struct Piece {
  std::size_t layer;
  double mass, slope;
};

bool in_unit(double value) {
  return value >= 0 && value <= 1;  // NaN fails
}

Result<void> check_curves(Span<const SensitivityCurve> curves) {
  if (curves.empty()) return fail(Code::bad_input, "no layer has a measured curve");
  for (std::size_t layer = 0; layer < curves.size(); ++layer)
    for (const SensitivityPoint& point : curves[layer])
      if (!in_unit(point.kept) || !(std::fabs(point.nll_increase) <= kMostIncrease))
        return fail(Code::bad_input, "layer " + std::to_string(layer) +
                                         ": a point's kept mass is not within 0 and 1 or its "
                                         "increase is no sensible number");
  return {};
}

/// The lower convex hull of (1 - kept, increase) and (0, 0), as pieces of growing slope.
void append_hull(std::size_t layer, const SensitivityCurve& curve, std::vector<Piece>& pieces) {
  std::vector<std::pair<double, double>> points{{0.0, 0.0}};
  for (const SensitivityPoint& point : curve)
    if (point.kept < 1) points.emplace_back(1 - point.kept, point.nll_increase);
  std::sort(points.begin(), points.end());
  std::vector<std::pair<double, double>> hull;
  const auto bends_down = [&hull](const std::pair<double, double>& next) {
    const auto& [x0, y0] = hull[hull.size() - 2];
    const auto& [x1, y1] = hull.back();
    return (y1 - y0) * (next.first - x0) >= (next.second - y0) * (x1 - x0);
  };
  for (const auto& point : points) {
    if (!hull.empty() && hull.back().first == point.first) continue;  // the lower one came first
    while (hull.size() >= 2 && bends_down(point)) hull.pop_back();
    hull.push_back(point);
  }
  for (std::size_t i = 1; i < hull.size(); ++i) {
    const double mass = hull[i].first - hull[i - 1].first;
    pieces.push_back({layer, mass, (hull[i].second - hull[i - 1].second) / mass});
  }
}

Result<double> number_of(const ordered_json& value, const std::string& name) {
  if (!value.is_number()) return fail(Code::bad_input, name + " should be a number");
  return value.get<double>();
}

Result<SensitivityCurve> curve_from(const ordered_json& list, const std::string& name) {
  if (!list.is_array() || list.size() > kMostPoints)
    return fail(Code::bad_input,
                name + " should be a list of at most " + std::to_string(kMostPoints) + " points");
  SensitivityCurve curve;
  for (const ordered_json& point : list) {
    if (!point.is_object() || point.size() != 2 || !point.contains("kept") ||
        !point.contains("nll_increase"))
      return fail(Code::bad_input, name + " should hold points {\"kept\", \"nll_increase\"}");
    const Result<double> kept = number_of(point["kept"], name + ".kept");
    if (!kept) return tl::unexpected<Error>(kept.error());
    const Result<double> increase = number_of(point["nll_increase"], name + ".nll_increase");
    if (!increase) return tl::unexpected<Error>(increase.error());
    curve.push_back({*kept, *increase});
  }
  return curve;
}

Result<void> read_layers(const ordered_json& list, LayerBudgets& budgets) {
  if (!list.is_array() || list.empty() || list.size() > kMostLayers)
    return fail(Code::bad_input, "\"layers\" should be a list of 1 to " +
                                     std::to_string(kMostLayers) + " qualities");
  for (std::size_t layer = 0; layer < list.size(); ++layer) {
    const std::string name = "layers[" + std::to_string(layer) + "]";
    const Result<double> quality = number_of(list[layer], name);
    if (!quality) return tl::unexpected<Error>(quality.error());
    if (!in_unit(*quality)) return fail(Code::bad_input, name + " should be between 0 and 1");
    budgets.layers.push_back(*quality);
  }
  return {};
}

Result<void> read_curves(const ordered_json& list, LayerBudgets& budgets) {
  if (!list.is_array() || list.size() != budgets.layers.size())
    return fail(Code::bad_input, "\"curves\" should be a list with one entry for each layer");
  for (std::size_t layer = 0; layer < list.size(); ++layer) {
    Result<SensitivityCurve> curve =
        curve_from(list[layer], "curves[" + std::to_string(layer) + "]");
    if (!curve) return tl::unexpected<Error>(std::move(curve).error());
    budgets.curves.push_back(*std::move(curve));
  }
  return check_curves(budgets.curves);
}

}  // namespace

double LayerBudgets::mean() const {
  if (layers.empty()) return 1;
  return std::accumulate(layers.begin(), layers.end(), 0.0) / static_cast<double>(layers.size());
}

Result<std::vector<double>> allocate_quality(Span<const SensitivityCurve> curves,
                                             double mean_kept) {
  WDMOE_TRY(check_curves(curves));
  if (!in_unit(mean_kept))
    return fail(Code::bad_input, "the mean quality should be between 0 and 1");
  std::vector<Piece> pieces;
  for (std::size_t layer = 0; layer < curves.size(); ++layer)
    append_hull(layer, curves[layer], pieces);
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.slope < b.slope; });
  std::vector<double> kept(curves.size(), 1.0);
  double to_spend = (1 - mean_kept) * static_cast<double>(curves.size());
  for (const Piece& piece : pieces) {
    const double spent = std::min(piece.mass, to_spend);
    kept[piece.layer] = std::max(kept[piece.layer] - spent, 0.0);
    to_spend -= spent;
  }
  constexpr double kRounding = 1e-9;
  if (to_spend > kRounding)
    return fail(Code::bad_input,
                "a mean quality of " + std::to_string(mean_kept) +
                    " is lower than what was measured; the least it reaches is " +
                    std::to_string(mean_kept + to_spend / static_cast<double>(curves.size())));
  return kept;
}

Result<LayerBudgets> parse_layer_budgets(std::string_view text) {
  if (text.size() > kMostBytes)
    return fail(Code::limit, "is larger than " + std::to_string(kMostBytes) + " bytes");
  if (json_depth(text) > kMostDepth) return fail(Code::bad_input, "nests too deeply");
  const ordered_json document = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return fail(Code::bad_input, "is not a JSON object");
  for (const auto& [key, value] : document.items())
    if (key != "model_id" && key != "layers" && key != "curves")
      return fail(Code::bad_input, "has an unknown key \"" + key.substr(0, 64) + "\"");
  if (!document.contains("model_id") || !document["model_id"].is_string())
    return fail(Code::bad_input, "\"model_id\" should be a string");
  LayerBudgets budgets;
  budgets.model_id = document["model_id"].get<std::string>();
  WDMOE_TRY(read_layers(document.value("layers", ordered_json()), budgets));
  if (document.contains("curves")) WDMOE_TRY(read_curves(document["curves"], budgets));
  return budgets;
}

std::string format_layer_budgets(const LayerBudgets& budgets) {
  ordered_json document{{"model_id", budgets.model_id}, {"layers", budgets.layers}};
  for (const SensitivityCurve& curve : budgets.curves) {
    ordered_json list = ordered_json::array();
    for (const SensitivityPoint& point : curve)
      list.push_back({{"kept", point.kept}, {"nll_increase", point.nll_increase}});
    document["curves"].push_back(std::move(list));
  }
  return document.dump(1) + "\n";
}

Result<LayerBudgets> load_layer_budgets(const std::filesystem::path& path,
                                        std::string_view model_id, std::size_t layers) {
  const Result<std::string> text = weights::read_text(path, kMostBytes);
  if (!text) return tl::unexpected<Error>(text.error());
  Result<LayerBudgets> budgets = parse_layer_budgets(*text);
  if (!budgets) return fail(path.string(), std::move(budgets).error());
  if (budgets->model_id != model_id)
    return fail(Code::bad_input, path.string() + ": was measured on another model (" +
                                     budgets->model_id.substr(0, 64) + ", not " +
                                     std::string(model_id) +
                                     "); run wdmoe eval sensitivity on this one");
  if (budgets->layers.size() != layers)
    return fail(Code::bad_input, path.string() + ": has " + std::to_string(budgets->layers.size()) +
                                     " layers, the model " + std::to_string(layers));
  return budgets;
}

Result<void> save_layer_budgets(const std::filesystem::path& path, const LayerBudgets& budgets) {
  return weights::write_text(path, format_layer_budgets(budgets));
}

}  // namespace wdmoe::bsd
