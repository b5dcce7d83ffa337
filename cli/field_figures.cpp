// What a field trial looks like over time, as gnuplot commands.

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "cli/field_report.h"

namespace wdmoe::cli {
namespace {

constexpr std::size_t kMostCurvePoints = 1500;  // of a curve: more than a screen has columns

struct Curve {
  std::string title;
  std::vector<std::pair<double, double>> points;
};

/// One heading: its curves in each run.
struct Plan {
  const char *name, *heading, *axis;
  std::function<std::vector<Curve>(const FieldRun&)> curves;
};

std::string quoted_title(const std::string& text) {
  std::string out = "'";
  for (const char letter : text) out += letter == '\'' ? "''" : std::string(1, letter);
  return out + "'";
}

/// One curve per agent of `value`, scaled; moments when it is not known are gaps.
std::vector<Curve> of_agents(const FieldRun& run, double FieldAgent::*value, double scale) {
  std::vector<Curve> curves;
  for (const FieldPoint& point : run.points)
    for (const FieldAgent& agent : point.agents) {
      const double y = agent.*value * scale;
      if (!std::isfinite(y)) continue;
      auto curve = std::find_if(curves.begin(), curves.end(),
                                [&](const Curve& known) { return known.title == agent.name; });
      if (curve == curves.end()) curve = curves.insert(curves.end(), Curve{agent.name, {}});
      curve->points.emplace_back(point.t, y);
    }
  return curves;
}

/// The sum of all metrics whose name begins so and has `with` among its labels.
double sum_of(const FieldPoint& point, const std::string& name, const std::string& with) {
  double sum = 0;
  for (auto it = point.metrics.lower_bound(name); it != point.metrics.end(); ++it) {
    if (it->first.compare(0, name.size(), name) != 0) break;
    if (it->first.find(with) != std::string::npos) sum += it->second;
  }
  return sum;
}

/// What grew per `per` between each sample and the next one in which `per` grew.
Curve ratio(const FieldRun& run, const std::string& title,
            const std::function<double(const FieldPoint&)>& what,
            const std::function<double(const FieldPoint&)>& per, double scale) {
  Curve curve{title, {}};
  double what_before = what(run.points.front()), per_before = per(run.points.front());
  for (const FieldPoint& point : run.points) {
    const double grown = per(point) - per_before;
    if (!(grown > 0)) continue;
    const double y = scale * (what(point) - what_before) / grown;
    if (std::isfinite(y) && y >= 0) curve.points.emplace_back(point.t, y);
    what_before = what(point);
    per_before = per(point);
  }
  return curve;
}

std::function<double(const FieldPoint&)> metric(const char* name, const char* with) {
  return [=](const FieldPoint& point) { return sum_of(point, name, with); };
}

std::vector<Curve> waits(const FieldRun& run) {
  const auto predicted = metric("wdmoe_layer_waits_total{", "predicted=\"yes\"");
  const char* const seconds = "wdmoe_layer_wait_seconds_total{";
  return {ratio(run, "measured", metric(seconds, "kind=\"measured_of_predicted\""), predicted, 1e3),
          ratio(run, "predicted", metric(seconds, "kind=\"predicted\""), predicted, 1e3)};
}

/// Bars by layer, over the whole run.
std::vector<Curve> waits_by_layer(const FieldRun& run) {
  std::vector<Curve> curves{{"measured", {}}, {"predicted", {}}};
  const FieldPoint &first = run.points.front(), &last = run.points.back();
  for (int layer = 0;; ++layer) {
    const std::string own = fmt::format("layer=\"{}\"", layer);
    const std::string counted = "wdmoe_layer_waits_total{" + own + ",predicted=\"yes\"}";
    if (last.metrics.count(counted) == 0) return curves;
    const auto grown = [&](const std::string& name) {
      return sum_of(last, name, "") - sum_of(first, name, "");
    };
    const double exchanges = grown(counted);
    if (!(exchanges > 0)) continue;
    const std::string seconds = "wdmoe_layer_wait_seconds_total{" + own + ",kind=";
    const double measured = grown(seconds + "\"measured_of_predicted\"}");
    curves[0].points.emplace_back(layer, 1e3 * measured / exchanges);
    curves[1].points.emplace_back(layer, 1e3 * grown(seconds + "\"predicted\"}") / exchanges);
  }
}

std::vector<Curve> tokens(const FieldRun& run) {
  return {ratio(
      run, "tokens", [](const FieldPoint& p) { return p.tokens; },
      [](const FieldPoint& p) { return p.t; }, 1)};
}

std::vector<Curve> traffic(const FieldRun& run) {
  auto curves = of_agents(run, &FieldAgent::bytes_sent, 1e-6);
  for (Curve& curve : curves) {
    const double first = curve.points.front().second;
    for (auto& point : curve.points) point.second = std::max(0.0, point.second - first);
  }
  return curves;
}

const std::vector<Plan>& plans() {
  static const auto agent = [](double FieldAgent::*value, double scale) {
    return [=](const FieldRun& run) { return of_agents(run, value, scale); };
  };
  static const std::vector<Plan> kPlans{
      {"wait", "Waiting latency of an exchange", "ms", waits},
      {"layer", "Waiting latency by layer", "ms", waits_by_layer},
      {"tokens", "Tokens made", "1/s", tokens},
      {"down", "Estimated downlink", "Mbit/s", agent(&FieldAgent::down_bps, 1e-6)},
      {"up", "Estimated uplink", "Mbit/s", agent(&FieldAgent::up_bps, 1e-6)},
      {"share", "Downlink share commanded", "Mbit/s", agent(&FieldAgent::share_down_bps, 1e-6)},
      {"rtt", "Base round trip", "ms", agent(&FieldAgent::rtt_s, 1e3)},
      {"queue", "Queueing", "ms", agent(&FieldAgent::queueing_s, 1e3)},
      {"bytes", "Sent to each agent", "MB", traffic},
  };
  return kPlans;
}

std::string commands_of(const Plan& plan, const std::string& name, const std::vector<Curve>& curves,
                        double most) {
  std::string blocks, plot = "plot ";
  const bool by_layer = std::string(plan.name) == "layer";
  for (std::size_t index = 0; index < curves.size(); ++index) {
    const Curve& curve = curves[index];
    const std::size_t step = 1 + curve.points.size() / kMostCurvePoints;
    blocks += fmt::format("$curve{} << EOD\n", index);
    for (std::size_t i = 0; i < curve.points.size(); i += step)
      blocks += fmt::format("{:g} {:g}\n", curve.points[i].first, curve.points[i].second);
    blocks += "EOD\n";
    if (curve.points.empty()) continue;
    plot += fmt::format("{}$curve{} using 1:2 with {} linewidth 1.3 title {}",
                        plot.size() > 5 ? ", " : "", index, by_layer ? "linespoints" : "lines",
                        quoted_title(curve.title));
  }
  return fmt::format(
             "set terminal svg name '{0}' size 560,320 dynamic background '#ffffff' font "
             "'sans,12'\nset output '{0}.svg'\nset grid back linecolor rgb '#dddddd'\nset key "
             "noenhanced outside right top\nset tics nomirror\nset xlabel '{1}'\nset ylabel "
             "'{2}'\nset yrange [0:{3:g}]\n",
             name, by_layer ? "layer" : "s", plan.axis, most > 0 ? 1.05 * most : 1.0) +
         blocks + plot + "\nunset output\n";
}

}  // namespace

std::vector<FieldFigure> figures_of(Span<const FieldRun> runs) {
  std::vector<FieldFigure> figures;
  for (const Plan& plan : plans()) {
    std::vector<std::vector<Curve>> curves;
    double most = 0;
    bool any = false;
    for (const FieldRun& run : runs) {
      for (const Curve& curve : curves.emplace_back(plan.curves(run)))
        for (const auto& [x, y] : curve.points) {
          most = std::max(most, y);
          any = true;
        }
    }
    for (std::size_t run = 0; any && run < runs.size(); ++run) {
      const bool empty = std::all_of(curves[run].begin(), curves[run].end(),
                                     [](const Curve& curve) { return curve.points.empty(); });
      const std::string name = fmt::format("{}_{}", plan.name, run);
      figures.push_back(
          {name, plan.heading, run, empty ? "" : commands_of(plan, name, curves[run], most)});
    }
  }
  return figures;
}

FieldTotals totals_of(const FieldRun& run) {
  const FieldPoint &first = run.points.front(), &last = run.points.back();
  const auto grown = [&](const char* name, const char* with) {
    return sum_of(last, name, with) - sum_of(first, name, with);
  };
  FieldTotals totals;
  totals.seconds = last.t - first.t;
  totals.tokens = last.tokens - first.tokens;
  totals.tokens_per_s = totals.tokens / totals.seconds;
  const double exchanges = grown("wdmoe_layer_waits_total{", "predicted=\"yes\"");
  totals.wait_s =
      grown("wdmoe_layer_wait_seconds_total{", "kind=\"measured_of_predicted\"") / exchanges;
  totals.predicted_error = grown("wdmoe_layer_wait_prediction_error_total{", "") / exchanges;
  totals.kept_mass = grown("wdmoe_kept_gate_mass_total{", "") / grown("wdmoe_gate_rows_total{", "");
  for (const FieldAgent& agent : last.agents) {
    totals.bytes_down += agent.bytes_sent;
    totals.bytes_up += agent.bytes_received;
    totals.failures += agent.failures;
  }
  for (const FieldAgent& agent : first.agents) {
    totals.bytes_down -= agent.bytes_sent;
    totals.bytes_up -= agent.bytes_received;
    totals.failures -= agent.failures;
  }
  totals.plans = last.plan - first.plan;
  return totals;
}

}  // namespace wdmoe::cli
