#include "cli/bench_report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace wdmoe::cli {
namespace {

struct Row {
  const char* key;
  double value;
  const char* unit;
};

/// The single figures, in the order of every format.
std::vector<Row> rows_of(const BenchReport& r) {
  return {{"prefill_tokens_per_s", r.prefill_tokens_per_s, "tokens/s"},
          {"decode_tokens_per_s", r.decode_tokens_per_s, "tokens/s"},
          {"ttft_ms", r.ttft_ms, "ms"},
          {"inter_token_p50_ms", r.inter_token_p50_ms, "ms"},
          {"inter_token_p95_ms", r.inter_token_p95_ms, "ms"},
          {"inter_token_p99_ms", r.inter_token_p99_ms, "ms"},
          {"bytes_per_token", r.bytes_per_token, "B"},
          {"bytes_sent_per_token", r.bytes_sent_per_token, "B"},
          {"bytes_received_per_token", r.bytes_received_per_token, "B"},
          {"round_trips_per_token", r.round_trips_per_token, ""},
          {"kept_gate_mass", r.kept_gate_mass, ""}};
}

std::string heading(const BenchReport& r) {
  return fmt::format("{}, {}, policy {}: {} prompt tokens, {} new tokens, median of {}", r.model,
                     r.in_process ? "experts in this process" : "experts on agents", r.policy,
                     r.prompt_tokens, r.new_tokens, r.repetitions);
}

std::string as_table(const BenchReport& r) {
  std::string text = heading(r) + "\n\n";
  for (const Row& row : rows_of(r))
    text += fmt::format("{:<26} {:>12.2f} {}\n", row.key, row.value, row.unit);
  text += fmt::format("\n{:<16} {:>22} {:>24}\n", "per layer, us", "decode (one token)",
                      "prefill (whole prompt)");
  for (std::size_t i = 0; i < r.decode_layer_us.size(); ++i)
    text += fmt::format("{:<16} {:>22.1f} {:>24.1f}\n", r.decode_layer_us[i].first,
                        r.decode_layer_us[i].second, r.prefill_layer_us[i].second);
  return text;
}

std::string as_markdown(const BenchReport& r) {
  std::string text = heading(r) + "\n\n| figure | value | unit |\n| --- | ---: | --- |\n";
  for (const Row& row : rows_of(r))
    text += fmt::format("| {} | {:.2f} | {} |\n", row.key, row.value, row.unit);
  text +=
      "\n| per layer, us | decode (one token) | prefill (whole prompt) |\n| --- | ---: | ---: |\n";
  for (std::size_t i = 0; i < r.decode_layer_us.size(); ++i)
    text += fmt::format("| {} | {:.1f} | {:.1f} |\n", r.decode_layer_us[i].first,
                        r.decode_layer_us[i].second, r.prefill_layer_us[i].second);
  return text;
}

std::string as_json(const BenchReport& r) {
  nlohmann::ordered_json object{{"model", r.model},           {"in_process", r.in_process},
                                {"policy", r.policy},         {"prompt_tokens", r.prompt_tokens},
                                {"new_tokens", r.new_tokens}, {"repetitions", r.repetitions}};
  for (const Row& row : rows_of(r)) object[row.key] = row.value;
  for (const auto& [stage, us] : r.decode_layer_us) object["decode_layer_us"][stage] = us;
  for (const auto& [stage, us] : r.prefill_layer_us) object["prefill_layer_us"][stage] = us;
  return object.dump(2) + "\n";
}

std::string as_csv(const BenchReport& r) {
  std::string names = "model,in_process,policy,prompt_tokens,new_tokens,repetitions";
  std::string values = fmt::format("{},{},{},{},{},{}", r.model, r.in_process ? 1 : 0, r.policy,
                                   r.prompt_tokens, r.new_tokens, r.repetitions);
  const auto put = [&](const std::string& name, double value) {
    names += "," + name;
    values += fmt::format(",{:.6g}", value);
  };
  for (const Row& row : rows_of(r)) put(row.key, row.value);
  for (const auto& [stage, us] : r.decode_layer_us) put("decode_layer_us_" + stage, us);
  for (const auto& [stage, us] : r.prefill_layer_us) put("prefill_layer_us_" + stage, us);
  return names + "\n" + values + "\n";
}

}  // namespace

Result<ReportFormat> report_format_from(const std::string& name) {
  if (name == "table") return ReportFormat::table;
  if (name == "json") return ReportFormat::json;
  if (name == "csv") return ReportFormat::csv;
  if (name == "md") return ReportFormat::md;
  return fail(Code::bad_input, "output '" + name + "': expected table, json, csv or md");
}

std::string format_report(const BenchReport& report, ReportFormat format) {
  switch (format) {
    case ReportFormat::table:
      return as_table(report);
    case ReportFormat::json:
      return as_json(report);
    case ReportFormat::csv:
      return as_csv(report);
    case ReportFormat::md:
      return as_markdown(report);
  }
  return "";
}

}  // namespace wdmoe::cli
