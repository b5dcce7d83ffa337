#include "sim/report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <boost/math/distributions/students_t.hpp>
#include <boost/math/statistics/univariate_statistics.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace wdmoe::sim {
namespace {

using nlohmann::ordered_json;

template <class Quantity>
Estimate over_seeds(const Point& point, Quantity quantity) {
  std::vector<double> samples;
  for (std::size_t seed = 0; seed < point.runs.size(); ++seed) samples.push_back(quantity(seed));
  return estimate(samples);
}

/// JSON has no NaN: a single seed's interval is null.
ordered_json interval_of(const Estimate& estimate) {
  if (!std::isfinite(estimate.half_width)) return nullptr;
  return {estimate.mean - estimate.half_width, estimate.mean + estimate.half_width};
}

double per_row(std::size_t sum, const Account& account) {
  return static_cast<double>(sum) / static_cast<double>(std::max<std::size_t>(account.rows, 1));
}

std::string with_interval(double mean, double half_width, int digits) {
  if (!std::isfinite(half_width)) return fmt::format("{:.{}f}", mean, digits);
  return fmt::format("{:.{}f} ± {:.{}f}", mean, digits, half_width, digits);
}

}  // namespace

Estimate estimate(Span<const double> samples) {
  const std::vector<double> values(samples.begin(), samples.end());
  Estimate out;
  out.mean = boost::math::statistics::mean(values);
  out.half_width = std::numeric_limits<double>::quiet_NaN();
  if (values.size() < 2) return out;
  const auto count = static_cast<double>(values.size());
  const double variance = boost::math::statistics::sample_variance(values);
  const boost::math::students_t spread(count - 1);
  out.half_width = boost::math::quantile(spread, 0.975) * std::sqrt(variance / count);
  return out;
}

std::string label_of(const Variant& variant) {
  const std::string knob = variant.knob.empty() ? "" : fmt::format(" {}", variant.value);
  return fmt::format("{}{}, {}", variant.policy, knob, name_of(variant.sharing));
}

std::vector<Summary> summarise(Span<const Point> points) {
  std::vector<Summary> summaries;
  const Point* vanilla = nullptr;
  for (const Point& point : points) {
    if (point.variant.is_vanilla()) vanilla = &point;
    Summary& summary = summaries.emplace_back();
    summary.sweep_value = point.sweep_value;
    summary.variant = point.variant;
    const auto run = [&](std::size_t seed) -> const Account& { return point.runs[seed]; };
    summary.waiting_s =
        over_seeds(point, [&](std::size_t seed) { return run(seed).mean_waiting().count(); });
    summary.predicted_s =
        over_seeds(point, [&](std::size_t seed) { return run(seed).mean_predicted().count(); });
    summary.cut = over_seeds(point, [&](std::size_t seed) {
      return 1 - run(seed).mean_waiting() / vanilla->runs[seed].mean_waiting();
    });
    summary.kept =
        over_seeds(point, [&](std::size_t seed) { return run(seed).mean_kept_gate_mass(); });
    for (const Account& account : point.runs) {
      const auto seeds = static_cast<double>(point.runs.size());
      summary.drops_per_row += per_row(account.drops, account) / seeds;
      summary.substitutions_per_row += per_row(account.substitutions, account) / seeds;
    }
  }
  return summaries;
}

std::string csv_of(const Scenario& scenario, Span<const Point> points) {
  std::string out =
      "scenario,sweep_key,sweep_value,policy,knob,knob_value,allocator,seed,exchanges,rows,"
      "mean_waiting_latency_s,mean_predicted_latency_s,kept_gate_mass,drops,substitutions,rounds\n";
  std::string name;
  for (const char letter : scenario.name) name += letter == '"' ? "\"\"" : std::string(1, letter);
  for (const Point& point : points) {
    const Variant& variant = point.variant;
    for (std::size_t seed = 0; seed < point.runs.size(); ++seed) {
      const Account& account = point.runs[seed];
      out += fmt::format(
          "\"{}\",{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", name, scenario.sweep.key,
          point.sweep_value ? fmt::format("{}", *point.sweep_value) : "", variant.policy,
          variant.knob, variant.knob.empty() ? "" : fmt::format("{}", variant.value),
          name_of(variant.sharing), seed + 1, account.exchanges, account.rows,
          account.mean_waiting().count(), account.mean_predicted().count(),
          account.mean_kept_gate_mass(), account.drops, account.substitutions, account.rounds);
    }
  }
  return out;
}

std::string json_of(const Scenario& scenario, Span<const Summary> summaries) {
  ordered_json out;
  out["scenario"] = scenario.name;
  out["seeds"] = scenario.run.seeds;
  out["confidence"] = 0.95;
  out["medium"] = scenario.cell.medium;
  out["latency_model"] = scenario.cell.latency;
  if (!scenario.sweep.key.empty()) out["sweep_key"] = scenario.sweep.key;
  out["results"] = ordered_json::array();
  for (const Summary& summary : summaries) {
    ordered_json row;
    row["scenario"] = scenario.name;
    if (summary.sweep_value) row["sweep_value"] = *summary.sweep_value;
    row["policy"] = summary.variant.policy;
    if (!summary.variant.knob.empty()) row[summary.variant.knob] = summary.variant.value;
    row["allocator"] = std::string(name_of(summary.variant.sharing));
    const auto add = [&](const std::string& name, const Estimate& estimate) {
      row[name] = estimate.mean;
      row[name + "_ci"] = interval_of(estimate);
    };
    add("mean_waiting_latency_s", summary.waiting_s);
    add("latency_cut_vs_vanilla", summary.cut);
    add("kept_gate_mass", summary.kept);
    add("mean_predicted_latency_s", summary.predicted_s);
    row["drops_per_row"] = summary.drops_per_row;
    row["substitutions_per_row"] = summary.substitutions_per_row;
    out["results"].push_back(std::move(row));
  }
  return out.dump(2) + "\n";
}

std::string table_of(Span<const Summary> summaries) {
  std::string out;
  std::optional<double> value;
  const auto head = [&](const std::string& first) {
    out += fmt::format("{:<22} {:>20} {:>17} {:>17}\n", first, "latency [ms/layer]", "cut [%]",
                       "kept mass [%]");
  };
  if (!summaries.empty() && !summaries[0].sweep_value) head("policy, allocator");
  for (const Summary& summary : summaries) {
    if (summary.sweep_value != value) head(fmt::format("at {}", *summary.sweep_value));
    value = summary.sweep_value;
    out += fmt::format(
        "{:<22} {:>20} {:>17} {:>17}\n", label_of(summary.variant),
        with_interval(1e3 * summary.waiting_s.mean, 1e3 * summary.waiting_s.half_width, 3),
        with_interval(100 * summary.cut.mean, 100 * summary.cut.half_width, 1),
        with_interval(100 * summary.kept.mean, 100 * summary.kept.half_width, 1));
  }
  return out;
}

}  // namespace wdmoe::sim
