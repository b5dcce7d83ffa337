#pragma once
// Figures of `wdmoe bench` and their printed forms.

#include <string>
#include <utility>
#include <vector>

#include "common/result.h"

namespace wdmoe::cli {

/// Medians over the repetitions; times in ms per token unless said.
struct BenchReport {
  std::string model;
  bool in_process = false;
  unsigned prompt_tokens = 0, new_tokens = 0, repetitions = 0;
  double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
  double ttft_ms = 0;  ///< of the whole prompt
  double inter_token_p50_ms = 0, inter_token_p95_ms = 0, inter_token_p99_ms = 0;
  double bytes_per_token = 0, bytes_sent_per_token = 0, bytes_received_per_token = 0;
  std::string policy;                ///< that chose the decode run's experts
  double kept_gate_mass = 1;         ///< mean of the decode run's decisions
  double round_trips_per_token = 0;  ///< while decoding
  std::vector<std::pair<std::string, double>> decode_layer_us;   ///< per layer and token, by stage
  std::vector<std::pair<std::string, double>> prefill_layer_us;  ///< per layer, whole prompt
};

enum class ReportFormat { table, json, csv, md };
Result<ReportFormat> report_format_from(const std::string& name);

std::string format_report(const BenchReport& report, ReportFormat format);

}  // namespace wdmoe::cli
