#include "cli/field_report.h"

#include <cmath>
#include <functional>

#include <fmt/format.h>

namespace wdmoe::cli {
namespace {

/// Recordings carry words of agents and people: none of them may become markup.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char letter : text) {
    switch (letter) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += letter;
    }
  }
  return out;
}

std::string shown_total(double value, double scale, const char* unit) {
  return std::isfinite(value) ? fmt::format("{:.4g} {}", value * scale, unit) : "–";
}

std::string row_of(const std::string& head, Span<const FieldRun> runs,
                   const std::function<std::string(const FieldRun&)>& cell) {
  std::string row = "<tr><th>" + head + "</th>";
  for (const FieldRun& run : runs) row += "<td>" + cell(run) + "</td>";
  return row + "</tr>\n";
}

std::string policies_of(const FieldRun& run) {
  std::string names, last;
  for (const FieldPoint& point : run.points) {
    if (point.policy == last) continue;
    last = point.policy;
    names += (names.empty() ? "" : ", then ") + escaped(last);
  }
  return names;
}

std::string labels_of(const FieldRun& run) {
  std::string text;
  for (const std::string& label : run.labels) text += escaped(label) + "<br>";
  return text;
}

std::string notes_of(const FieldRun& run) {
  std::string text;
  for (const auto& [t, note] : run.notes)
    text += fmt::format("{:.1f} s: ", t) + escaped(note) + "<br>";
  return text;
}

std::string comparison_of(Span<const FieldRun> runs) {
  using Cell = std::function<std::string(const FieldRun&)>;
  const auto total = [](double FieldTotals::*value, double scale, const char* unit) -> Cell {
    return [=](const FieldRun& run) { return shown_total(totals_of(run).*value, scale, unit); };
  };
  const std::pair<const char*, Cell> rows[] = {
      {"recording", [](const FieldRun& run) { return escaped(run.file); }},
      {"started", [](const FieldRun& run) { return escaped(run.started); }},
      {"software", [](const FieldRun& run) { return escaped(run.software); }},
      {"base station", [](const FieldRun& run) { return escaped(run.station); }},
      {"labels", labels_of},
      {"policy", policies_of},
      {"radio", [](const FieldRun& run) { return escaped(run.points.back().radio_state); }},
      {"ended by", [](const FieldRun& run) { return escaped(run.end_reason); }},
      {"duration", total(&FieldTotals::seconds, 1, "s")},
      {"tokens made", total(&FieldTotals::tokens, 1, "")},
      {"tokens per second", total(&FieldTotals::tokens_per_s, 1, "1/s")},
      {"waiting latency of an exchange, mean", total(&FieldTotals::wait_s, 1e3, "ms")},
      {"its prediction's error, mean", total(&FieldTotals::predicted_error, 100, "%")},
      {"kept gate mass", total(&FieldTotals::kept_mass, 100, "%")},
      {"sent to agents", total(&FieldTotals::bytes_down, 1e-6, "MB")},
      {"received from agents", total(&FieldTotals::bytes_up, 1e-6, "MB")},
      {"failures", total(&FieldTotals::failures, 1, "")},
      {"plans applied", total(&FieldTotals::plans, 1, "")},
      {"notes", notes_of},
  };
  std::string table = "<table>\n";
  for (const auto& [head, cell] : rows) table += row_of(head, runs, cell);
  return table + "</table>\n";
}

/// From "<svg" on: an XML declaration has no place inside a page.
std::string inner(const std::string& svg) {
  const std::size_t begin = svg.find("<svg");
  return begin == std::string::npos ? std::string() : svg.substr(begin);
}

std::string configs_of(Span<const FieldRun> runs) {
  std::string text;
  for (const FieldRun& run : runs)
    if (!run.config.empty())
      text += "<h2>Configuration of " + escaped(run.file) + "</h2>\n<pre>" + escaped(run.config) +
              "</pre>\n";
  return text;
}

}  // namespace

std::string page_of(Span<const FieldRun> runs, Span<const FieldFigure> figures,
                    Span<const std::string> drawings) {
  std::string page =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>wdmoe field "
      "trial</title>\n<style>body{font:15px sans-serif;margin:2em;color:#222}"
      "table{border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.25em 1em;"
      "border-bottom:1px solid #ddd}th{font-weight:normal;color:#555}"
      ".runs{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0}pre{background:#f6f6f6;padding:"
      "1em;"
      "overflow:auto}</style></head>\n<body><h1>wdmoe field trial</h1>\n" +
      comparison_of(runs);
  for (std::size_t index = 0; index < figures.size(); ++index) {
    const FieldFigure& figure = figures[index];
    if (figure.run == 0) page += "<h2>" + escaped(figure.heading) + "</h2>\n<div class=\"runs\">\n";
    page += "<figure><figcaption>" + escaped(runs[figure.run].file) + "</figcaption>\n" +
            (drawings[index].empty() ? "nothing known" : inner(drawings[index])) + "</figure>\n";
    if (figure.run + 1 == runs.size()) page += "</div>\n";
  }
  return page + configs_of(runs) + "</body></html>\n";
}

}  // namespace wdmoe::cli
