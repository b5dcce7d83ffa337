#pragma once
// One or two field trials on a page.  Pure: runs in, gnuplot commands and HTML out.

#include <string>
#include <utility>
#include <vector>

#include "cli/field_run.h"
#include "common/span.h"

namespace wdmoe::cli {

/// One drawing: every run has the same, with the same range of values.
struct FieldFigure {
  std::string name;      ///< of the SVG file that `commands` make: NAME.svg
  std::string heading;   ///< above it
  std::size_t run = 0;   ///< whose it is
  std::string commands;  ///< for gnuplot
};

/// Heading by heading, run by run.  Those of which no run knows anything are left out.
std::vector<FieldFigure> figures_of(Span<const FieldRun> runs);

/// Of a whole run; NaN where nothing is known.
struct FieldTotals {
  double seconds = 0, tokens = 0, tokens_per_s = 0;
  double wait_s = 0;           ///< mean waiting latency of an exchange, as measured
  double predicted_error = 0;  ///< mean of |predicted - measured| / measured
  double kept_mass = 0;        ///< of the gate's top-k, 0…1
  double bytes_down = 0, bytes_up = 0, failures = 0, plans = 0;
};
FieldTotals totals_of(const FieldRun& run);

/// A page that needs nothing else; `drawings`: SVG text of each figure, in order.
std::string page_of(Span<const FieldRun> runs, Span<const FieldFigure> figures,
                    Span<const std::string> drawings);

}  // namespace wdmoe::cli
