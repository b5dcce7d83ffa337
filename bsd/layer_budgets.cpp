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
constexpr double kMostSaved = 1e6;     // s
constexpr double kMostIncrease = 1e3;  // nats; the log of a vocabulary is about 12

/// Piece of a layer's convex hull: `gain` more (of mass given up, or of seconds saved) costs
/// `slope` nats per unit of it.
struct Piece {
  std::size_t layer;
  double gain, slope;
  double mass;  ///< given up along the piece
};
/// What giving up `mass` gains and costs.
struct Trade {
  double gain, cost, mass;
};

bool in_unit(double value) {
  return value >= 0 && value <= 1;  // NaN fails
}

Result<void> check_curves(Span<const SensitivityCurve> curves) {
  if (curves.empty()) return fail(Code::bad_input, "no layer has a measured curve");
  for (std::size_t layer = 0; layer < curves.size(); ++layer)
    for (const SensitivityPoint& point : curves[layer])
      if (!in_unit(point.kept) || !(std::fabs(point.nll_increase) <= kMostIncrease) ||
          !(std::fabs(point.saved_s.value_or(0)) <= kMostSaved))
        return fail(Code::bad_input, "layer " + std::to_string(layer) +
                                         ": a point's kept mass is not within 0 and 1 or its "
                                         "increase or saving is no sensible number");
  return {};
}

/// The lower convex hull of cost over gain, with (0, 0), as pieces of growing slope.
void append_hull(std::size_t layer, std::vector<Trade> trades, std::vector<Piece>& pieces) {
  trades.push_back({0, 0, 0});
  std::sort(trades.begin(), trades.end(), [](const Trade& a, const Trade& b) {
    return a.gain != b.gain ? a.gain < b.gain : a.cost < b.cost;
  });
  std::vector<Trade> hull;
  const auto bends_down = [&hull](const Trade& next) {
    const Trade &a = hull[hull.size() - 2], &b = hull.back();
    return (b.cost - a.cost) * (next.gain - a.gain) >= (next.cost - a.cost) * (b.gain - a.gain);
  };
  for (const Trade& trade : trades) {
    if (!hull.empty() && hull.back().gain == trade.gain) continue;  // the cheaper one came first
    while (hull.size() >= 2 && bends_down(trade)) hull.pop_back();
    hull.push_back(trade);
  }
  for (std::size_t i = 1; i < hull.size(); ++i) {
    const Trade &from = hull[i - 1], &to = hull[i];
    const double gain = to.gain - from.gain;
    pieces.push_back({layer, gain, (to.cost - from.cost) / gain, to.mass - from.mass});
  }
}

/// Loss over mass given up.
std::vector<Trade> by_mass(const SensitivityCurve& curve) {
  std::vector<Trade> trades;
  for (const SensitivityPoint& point : curve)
    if (point.kept < 1) trades.push_back({1 - point.kept, point.nll_increase, 1 - point.kept});
  return trades;
}

void cheapest_first(std::vector<Piece>& pieces) {
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.slope < b.slope; });
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
    const bool saves = point.is_object() && point.contains("saved_s");
    if (!point.is_object() || point.size() != (saves ? 3 : 2) || !point.contains("kept") ||
        !point.contains("nll_increase"))
      return fail(Code::bad_input,
                  name + " should hold points {\"kept\", \"nll_increase\"[, \"saved_s\"]}");
    const Result<double> kept = number_of(point["kept"], name + ".kept");
    if (!kept) return tl::unexpected<Error>(kept.error());
    const Result<double> increase = number_of(point["nll_increase"], name + ".nll_increase");
    if (!increase) return tl::unexpected<Error>(increase.error());
    curve.push_back({*kept, *increase});
    if (!saves) continue;
    const Result<double> saved = number_of(point["saved_s"], name + ".saved_s");
    if (!saved) return tl::unexpected<Error>(saved.error());
    curve.back().saved_s = *saved;
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
    append_hull(layer, by_mass(curves[layer]), pieces);
  cheapest_first(pieces);
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

Result<std::vector<double>> allocate_increase(Span<const SensitivityCurve> curves,
                                              double nll_increase) {
  WDMOE_TRY(check_curves(curves));
  if (!(nll_increase >= 0 && nll_increase <= kMostIncrease))
    return fail(Code::bad_input, "the increase of loss to spend should be at least 0");
  std::vector<Piece> pieces;
  for (std::size_t layer = 0; layer < curves.size(); ++layer) {
    std::vector<Trade> trades;
    for (const SensitivityPoint& point : curves[layer]) {
      if (!point.saved_s)
        return fail(Code::bad_input,
                    "the curves were measured without a cell and do not say what "
                    "time is saved; run wdmoe eval sensitivity --scenario");
      if (*point.saved_s > 0)
        trades.push_back({*point.saved_s, std::max(point.nll_increase, 0.0), 1 - point.kept});
    }
    append_hull(layer, std::move(trades), pieces);
  }
  cheapest_first(pieces);
  std::vector<double> kept(curves.size(), 1.0);
  double to_spend = nll_increase;
  for (const Piece& piece : pieces) {
    const double cost = piece.slope * piece.gain;
    const double part = cost > to_spend ? to_spend / cost : 1;
    kept[piece.layer] = std::clamp(kept[piece.layer] - part * piece.mass, 0.0, 1.0);
    to_spend -= part * cost;
  }
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
    for (const SensitivityPoint& point : curve) {
      list.push_back({{"kept", point.kept}, {"nll_increase", point.nll_increase}});
      if (point.saved_s) list.back()["saved_s"] = *point.saved_s;
    }
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
