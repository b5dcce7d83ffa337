#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "sim/report.h"

namespace wdmoe::sim {
namespace {

/// One curve: a policy with an allocator (and, over a sweep, one value of its knob).
struct Curve {
  std::string title;
  std::vector<const Summary*> points;
};

/// Texts go into single quotes, where gnuplot reads nothing but '' as special.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char letter : text) out += letter == '\'' ? "''" : std::string(1, letter);
  return out + "'";
}

/// Curves in order of first appearance of `title_of`.
template <class TitleOf>
std::vector<Curve> curves_of(Span<const Summary> summaries, TitleOf title_of) {
  std::vector<Curve> curves;
  for (const Summary& summary : summaries) {
    const std::string title = title_of(summary.variant);
    auto curve = std::find_if(curves.begin(), curves.end(),
                              [&](const Curve& known) { return known.title == title; });
    if (curve == curves.end()) curve = curves.insert(curves.end(), Curve{title, {}});
    curve->points.push_back(&summary);
  }
  return curves;
}

/// "x y low high" of an estimate; a single seed has no interval.
std::string point_text(double x, const Estimate& y, double unit) {
  const double half = std::isfinite(y.half_width) ? y.half_width : 0;
  return fmt::format("{} {} {} {}\n", x, unit * y.mean, unit * (y.mean - half),
                     unit * (y.mean + half));
}

std::string head_of(const std::string& title) {
  return "set title " + quoted(title) + " noenhanced\n" +
         "set grid back linetype 1 linewidth 0.5 linecolor rgb '#dddddd'\nset border linecolor rgb "
         "'#444444'\n"
         "set key noenhanced\nset tics nomirror\n";
}

/// Draws the commands after it in both formats.
std::string in_both_formats(const std::string& name, const std::string& plot) {
  return "set terminal svg size 800,480 dynamic background '#ffffff' font 'sans,13'\nset output '" +
         name + ".svg'\n" + plot +
         "set terminal pngcairo size 800,480 font 'sans,11'\nset output '" + name + ".png'\n" +
         plot + "unset output\n";
}

/// A look per curve: colour by policy, dashes for the equal split.
std::string look_of(const Variant& variant) {
  struct Colour {
    const char* policy;
    const char* rgb;
  };
  static constexpr Colour kColours[] = {{"topk", "#555555"},    {"wlr", "#1f77b4"},
                                        {"history", "#2ca02c"}, {"budget", "#9467bd"},
                                        {"beta", "#ff7f0e"},    {"minmax", "#d62728"}};
  const char* rgb = "#000000";
  std::size_t mark = 1;
  for (std::size_t index = 0; index < std::size(kColours); ++index) {
    if (variant.policy != kColours[index].policy) continue;
    rgb = kColours[index].rgb;
    mark = index + 4;
  }
  return fmt::format("linecolor rgb '{}' dashtype {} pointtype {} pointsize 0.8 linewidth {}", rgb,
                     variant.sharing == bsd::Sharing::equal ? 2 : 1, mark,
                     variant.policy == "minmax" ? 2 : 1.3);
}

/// Data, and the command that draws it (twice, in both formats).
struct Plot {
  std::string data, command;
};

/// One curve after the other.  `x` and `y` of a summary.
template <class X, class Y>
Plot plot_of(const std::vector<Curve>& curves, X x, Y y, double unit) {
  std::string blocks, plot = "plot ";
  for (std::size_t index = 0; index < curves.size(); ++index) {
    const std::string block = fmt::format("$curve{}", index);
    blocks += block + " << EOD\n";
    for (const Summary* point : curves[index].points)
      blocks += point_text(x(*point), y(*point), unit);
    blocks += "EOD\n";
    const std::string look = look_of(curves[index].points.front()->variant);
    plot += fmt::format("{}{} using 1:2:3:4 with yerrorlines {} title {}", index == 0 ? "" : ", ",
                        block, look, quoted(curves[index].title));
  }
  return {blocks, plot + "\n"};
}

std::string assemble(const std::string& name, const std::string& settings, const Plot& plot) {
  return settings + plot.data + in_both_formats(name, plot.command);
}

std::string axis_of(const SweepSpec& sweep) {
  return sweep.label.empty() ? sweep.key : sweep.label;
}

/// Values that span decades crowd at the left of a linear axis.
bool is_wide(const std::vector<double>& values) {
  constexpr double kWide = 30;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return *least > 0 && *most >= kWide * *least;
}

Figure over_sweep(const Scenario& scenario, Span<const Summary> summaries, const std::string& name,
                  const std::string& what, Estimate Summary::*y, double unit) {
  const auto curves = curves_of(summaries, [&](const Variant& variant) {
    // a swept knob is the axis, no part of the title
    Variant shown = variant;
    if (scenario.sweep.key == "run." + variant.knob) shown.knob.clear();
    return label_of(shown);
  });
  const std::string settings = head_of(scenario.name) + "set key outside right top\nset xlabel " +
                               quoted(axis_of(scenario.sweep)) + " noenhanced\nset ylabel '" +
                               what + "'\nset yrange [0:*]\n" +
                               (is_wide(scenario.sweep.values) ? "set logscale x 2\n" : "");
  const auto x = [&](const Summary& point) { return *point.sweep_value * scenario.sweep.scale; };
  const auto estimate = [&](const Summary& point) { return point.*y; };
  return {name, assemble(name, settings, plot_of(curves, x, estimate, unit))};
}

/// Latency against kept gate mass: a curve per policy and allocator over its knob.
Figure front(const Scenario& scenario, Span<const Summary> summaries) {
  auto curves = curves_of(summaries, [](const Variant& variant) {
    return label_of({variant.policy, "", -1, variant.sharing});
  });
  for (Curve& curve : curves) {
    std::sort(curve.points.begin(), curve.points.end(),
              [](const Summary* a, const Summary* b) { return a->kept.mean < b->kept.mean; });
  }
  const std::string settings =
      head_of(scenario.name) +
      "set key outside right top\nset xlabel 'kept gate mass [%]'\n"
      "set ylabel 'waiting latency [ms per layer]'\nset yrange [0:*]\nset xrange [*:101]\n";
  const auto x = [](const Summary& point) { return 100 * point.kept.mean; };
  const auto y = [](const Summary& point) { return point.waiting_s; };
  return {"pareto", assemble("pareto", settings, plot_of(curves, x, y, 1e3))};
}

/// One bar per variant.
Figure bars(const Scenario& scenario, Span<const Summary> summaries) {
  std::string block = "$bars << EOD\n";
  for (std::size_t index = 0; index < summaries.size(); ++index) {
    const Estimate& y = summaries[index].waiting_s;
    const double half = std::isfinite(y.half_width) ? y.half_width : 0;
    const char* const rgb =
        summaries[index].variant.sharing == bsd::Sharing::equal ? "0xaec7e8" : "0x1f77b4";
    block += fmt::format("{} {} {} \"{}\" {}\n", index, 1e3 * y.mean, 1e3 * half,
                         label_of(summaries[index].variant), rgb);
  }
  const std::string settings = head_of(scenario.name) +
                               "unset key\nset boxwidth 0.7\nset style fill solid\n"
                               "set xtics rotate by -35 noenhanced\nset yrange [0:*]\n"
                               "set xrange [-0.7:" +
                               fmt::format("{}", static_cast<double>(summaries.size()) - 0.3) +
                               "]\nset ylabel 'waiting latency [ms per layer]'\n" + block + "EOD\n";
  const std::string plot =
      "plot $bars using 1:2:5:xtic(4) with boxes linecolor rgb variable, "
      "$bars using 1:2:3 with yerrorbars linecolor rgb '#333333' pointtype 7 pointsize 0.2\n";
  return {"latency", settings + in_both_formats("latency", plot)};
}

}  // namespace

std::vector<Figure> figures_of(const Scenario& scenario, Span<const Summary> summaries) {
  if (!scenario.sweep.key.empty())
    return {over_sweep(scenario, summaries, "latency", "waiting latency [ms per layer]",
                       &Summary::waiting_s, 1e3),
            over_sweep(scenario, summaries, "cut", "latency cut against vanilla [%]", &Summary::cut,
                       100),
            over_sweep(scenario, summaries, "kept", "kept gate mass [%]", &Summary::kept, 100)};
  if (!scenario.run.quality.empty() || !scenario.run.beta.empty() || !scenario.run.theta.empty())
    return {front(scenario, summaries)};
  return {bars(scenario, summaries)};
}

}  // namespace wdmoe::sim
