#pragma once
// What `wdmoe eval` prints: one row for each configuration, every difference taken against the
// first, plain top-k (with an equal split).  Pure.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/eval/cases.h"
#include "cli/eval/measure.h"

namespace wdmoe::cli::eval {

/// Predicted waiting latency of all exchanges.
struct Waiting {
  double total_s = 0;
  std::size_t exchanges = 0;  ///< layers of batches
  std::size_t tokens = 0;     ///< rows of batches
};

/// One way to run the model, and what came of it.
struct Outcome {
  Case how;
  std::optional<double> kept_gate_mass;  ///< mean over all layers; absent: not known
  std::vector<double> layer_kept;        ///< [layers] the same for each, or empty
  std::optional<Waiting> waiting;
  Answers answers;
};

struct ReportHead {
  std::string model;     ///< directory or address
  std::string scenario;  ///< empty: no cell
  std::uint64_t seed = 1;
};

enum class Format { md, csv, json };

/// `outcomes` not empty; all of them answered `material`.
std::string format_report(const ReportHead& head, const Material& material,
                          const std::vector<Outcome>& outcomes, Format format);

}  // namespace wdmoe::cli::eval
