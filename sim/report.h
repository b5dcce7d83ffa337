#pragma once
// What a simulation says: means with confidence intervals, as CSV, JSON and figures (gnuplot).
// Pure: texts from values; `wdmoe simulate` writes them.

#include <optional>
#include <string>
#include <vector>

#include "common/span.h"
#include "sim/simulate.h"

namespace wdmoe::sim {

/// A mean over seeds and its 95 % confidence interval, mean ± half_width (Student's t);
/// half_width is NaN for a single seed.
struct Estimate {
  double mean = 0, half_width = 0;
};
Estimate estimate(Span<const double> samples);

/// One point, over its seeds.
struct Summary {
  std::optional<double> sweep_value;
  Variant variant;
  Estimate waiting_s;    ///< per exchange: one layer of one batch
  Estimate predicted_s;  ///< the same, as the optimiser predicted it
  Estimate cut;          ///< 1 - waiting / vanilla's, of the same seed and sweep value
  Estimate kept;         ///< gate mass
  double drops_per_row = 0, substitutions_per_row = 0;
};
/// Points as simulate() returns them: vanilla first at every sweep value.
std::vector<Summary> summarise(Span<const Point> points);

/// One line per point and seed.
std::string csv_of(const Scenario& scenario, Span<const Point> points);
/// {"scenario", "seeds", …, "results": [{"scenario", "policy", "allocator", …}]}
std::string json_of(const Scenario& scenario, Span<const Summary> summaries);
/// A table for people: latency, cut and kept mass per variant.
std::string table_of(Span<const Summary> summaries);

/// A figure: its file name without ending, and the gnuplot commands that draw it.
struct Figure {
  std::string name;
  std::string commands;
};
/// Figures that suit the scenario: bars, curves over the sweep, latency against kept mass.
/// Each becomes NAME.svg and NAME.png in gnuplot's working directory.
std::vector<Figure> figures_of(const Scenario& scenario, Span<const Summary> summaries);

/// "minmax, exact", "budget 0.9, equal": a variant in tables and keys.
std::string label_of(const Variant& variant);

}  // namespace wdmoe::sim
