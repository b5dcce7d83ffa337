#include "cli/eval/report.h"

#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/eval/statistics.h"

namespace wdmoe::cli::eval {
namespace {

using nlohmann::ordered_json;

constexpr double kSignificant = 1 - kConfidence;
constexpr const char* kAllSets = "all";  // pooled over the sets

/// Accuracy on one set (or all), and against the first configuration.
struct Accuracy {
  std::string set;
  std::size_t right = 0, items = 0;
  double share = 0;
  Interval interval;
  PairedShares change;
};

struct Perplexity {
  double value = 0;
  std::size_t tokens = 0;
  double change = 0;  ///< relative to the first configuration
  std::optional<Interval> interval;
};

struct Row {
  const Outcome* outcome;
  std::optional<Perplexity> perplexity;
  std::vector<Accuracy> accuracies;
  std::optional<double> layer_s, token_s, cut;
};

Accuracy accuracy_of(std::string set, Span<const unsigned char> before,
                     Span<const unsigned char> now) {
  Accuracy accuracy;
  accuracy.set = std::move(set);
  accuracy.items = now.size();
  accuracy.right = std::accumulate(now.begin(), now.end(), std::size_t{0});
  accuracy.share = static_cast<double>(accuracy.right) / static_cast<double>(accuracy.items);
  accuracy.interval = binomial_interval(accuracy.right, accuracy.items);
  accuracy.change = compare_shares(before, now);
  return accuracy;
}

std::vector<Accuracy> accuracies_of(const Material& material, const Outcome& first,
                                    const Outcome& outcome) {
  std::vector<Accuracy> accuracies;
  std::vector<unsigned char> before, now;
  for (std::size_t set = 0; set < material.sets.size(); ++set) {
    const auto& a = first.answers.right[set];
    const auto& b = outcome.answers.right[set];
    accuracies.push_back(accuracy_of(material.sets[set].name, a, b));
    before.insert(before.end(), a.begin(), a.end());
    now.insert(now.end(), b.begin(), b.end());
  }
  if (accuracies.size() > 1) accuracies.push_back(accuracy_of(kAllSets, before, now));
  return accuracies;
}

std::optional<Perplexity> perplexity_of(const Material& material, const Outcome& first,
                                        const Outcome& outcome) {
  if (material.windows.empty()) return {};
  std::vector<std::size_t> tokens;
  for (const Question& window : material.windows) tokens.push_back(window.endings[0].size());
  const auto& losses = outcome.answers.losses;
  Perplexity result;
  result.tokens = std::accumulate(tokens.begin(), tokens.end(), std::size_t{0});
  result.value = std::exp(std::accumulate(losses.begin(), losses.end(), 0.0) /
                          static_cast<double>(result.tokens));
  const PairedMean change = compare_losses(first.answers.losses, losses, tokens);
  result.change = std::expm1(change.difference);
  if (change.interval)
    result.interval = {std::expm1(change.interval->low), std::expm1(change.interval->high)};
  return result;
}

Row row_of(const Material& material, const Outcome& first, const Outcome& outcome) {
  Row row{&outcome,
          perplexity_of(material, first, outcome),
          accuracies_of(material, first, outcome),
          {},
          {},
          {}};
  if (!outcome.waiting || outcome.waiting->exchanges == 0) return row;
  row.layer_s = outcome.waiting->total_s / static_cast<double>(outcome.waiting->exchanges);
  row.token_s = outcome.waiting->total_s / static_cast<double>(outcome.waiting->tokens);
  if (first.waiting && first.waiting->total_s > 0)
    row.cut = 1 - outcome.waiting->total_s / first.waiting->total_s;
  return row;
}

std::string optional_text(const std::optional<double>& value, const char* format,
                          double scale = 1) {
  return value ? fmt::format(fmt::runtime(format), *value * scale) : "-";
}

std::string quality_text(const Case& how) {
  return optional_text(how.quality, "{:.3g}") + (how.layer_quality.empty() ? "" : " by layer") +
         (how.row_quality ? fmt::format(", rows {:.3g}", *how.row_quality) : "");
}

std::string heading(const ReportHead& head, const Row& first) {
  std::string text = head.model;
  if (!head.scenario.empty()) text += fmt::format(", {} (seed {})", head.scenario, head.seed);
  if (first.perplexity) text += fmt::format(", {} tokens scored", first.perplexity->tokens);
  if (!first.accuracies.empty())
    text += fmt::format(", {} questions", first.accuracies.back().items);
  return text;
}

std::string as_markdown(const ReportHead& head, const std::vector<Row>& rows) {
  const Row& first = rows.front();
  std::string names =
      "| policy | allocator | quality | kept mass | wait/layer ms | wait/token ms "
      "| cut % |";
  if (first.perplexity) names += " perplexity | change % |";
  for (const Accuracy& accuracy : first.accuracies) names += " " + accuracy.set + " |";
  std::string text = heading(head, first) + "\n\n" + names + "\n|";
  for (std::size_t columns = 7 + (first.perplexity ? 2 : 0) + first.accuracies.size(); columns > 0;
       --columns)
    text += " --- |";
  text += "\n";
  for (const Row& row : rows) {
    const Outcome& o = *row.outcome;
    text += fmt::format(
        "| {} | {} | {} | {} | {} | {} | {} |", o.how.policy.empty() ? "as served" : o.how.policy,
        o.how.allocator.empty() ? "-" : o.how.allocator, quality_text(o.how),
        optional_text(o.kept_gate_mass, "{:.4f}"), optional_text(row.layer_s, "{:.4g}", 1e3),
        optional_text(row.token_s, "{:.4g}", 1e3), optional_text(row.cut, "{:.1f}", 100));
    if (row.perplexity) {
      text += fmt::format(" {:.3f} | {:+.2f}", row.perplexity->value, 100 * row.perplexity->change);
      if (row.perplexity->interval)
        text += fmt::format(" ({:+.2f} to {:+.2f})", 100 * row.perplexity->interval->low,
                            100 * row.perplexity->interval->high);
      text += " |";
    }
    for (const Accuracy& a : row.accuracies)
      text += fmt::format(" {:.1f} ({:.1f} to {:.1f}){} |", 100 * a.share, 100 * a.interval.low,
                          100 * a.interval.high, a.change.p_value < kSignificant ? " *" : "");
    text += "\n";
  }
  if (!first.accuracies.empty())
    text +=
        "\nAccuracy in per cent with its 95 % Clopper-Pearson interval; *: differs from the "
        "first row on the same questions (exact McNemar test, p < 0.05).\n";
  if (first.perplexity)
    text +=
        "\nChange of perplexity against the first row, with Student's 95 % interval over "
        "windows.\n";
  return text;
}

ordered_json optional_json(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

ordered_json json_of(const Row& row) {
  const Outcome& o = *row.outcome;
  ordered_json object{
      {"policy", o.how.policy.empty() ? ordered_json() : ordered_json(o.how.policy)},
      {"allocator", o.how.allocator.empty() ? ordered_json() : ordered_json(o.how.allocator)},
      {"quality", optional_json(o.how.quality)},
      {"layer_quality", o.how.layer_quality},
      {"row_quality", optional_json(o.how.row_quality)},
      {"kept_gate_mass", optional_json(o.kept_gate_mass)},
      {"mean_waiting_latency_s", optional_json(row.layer_s)},
      {"waiting_latency_per_token_s", optional_json(row.token_s)},
      {"latency_cut_vs_vanilla", optional_json(row.cut)}};
  if (row.perplexity) {
    const Perplexity& p = *row.perplexity;
    object["perplexity"] = p.value;
    object["tokens_scored"] = p.tokens;
    object["window_losses"] = o.answers.losses;
    object["perplexity_change"] = {{"value", p.change}};
    if (p.interval) {
      object["perplexity_change"]["low"] = p.interval->low;
      object["perplexity_change"]["high"] = p.interval->high;
    }
  }
  for (const Accuracy& a : row.accuracies)
    object["sets"][a.set] = {{"items", a.items},
                             {"right", a.right},
                             {"accuracy", a.share},
                             {"low", a.interval.low},
                             {"high", a.interval.high},
                             {"gained", a.change.gained},
                             {"lost", a.change.lost},
                             {"difference", a.change.difference},
                             {"difference_low", a.change.interval.low},
                             {"difference_high", a.change.interval.high},
                             {"p_value", a.change.p_value}};
  return object;
}

std::string as_json(const ReportHead& head, const std::vector<Row>& rows) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? ordered_json() : ordered_json(text);
  };
  ordered_json document{{"model", head.model},
                        {"scenario", text_or_null(head.scenario)},
                        {"seed", head.seed},
                        {"confidence", kConfidence},
                        {"results", ordered_json::array()}};
  for (const Row& row : rows) document["results"].push_back(json_of(row));
  return document.dump(1) + "\n";
}

/// The scalars of json_of(), nested ones as outer_inner, layer_quality as "are there any"; the same
/// columns in every row.
std::string as_csv(const std::vector<Row>& rows) {
  std::string text;
  for (const Row& row : rows) {
    std::string names, values;
    ordered_json object = json_of(row);
    object["layer_quality"] = !row.outcome->how.layer_quality.empty();
    const ordered_json flat = object.flatten();
    for (const auto& [pointer, value] : flat.items()) {
      std::string name = pointer.substr(1);
      for (char& c : name)
        if (c == '/') c = '_';
      names += (names.empty() ? "" : ",") + name;
      values += (values.empty() ? "" : ",");
      if (value.is_string())
        values += value.get<std::string>();
      else if (!value.is_null())
        values += value.dump();
    }
    if (text.empty()) text = names + "\n";
    text += values + "\n";
  }
  return text;
}

}  // namespace

std::string format_report(const ReportHead& head, const Material& material,
                          const std::vector<Outcome>& outcomes, Format format) {
  std::vector<Row> rows;
  rows.reserve(outcomes.size());
  for (const Outcome& outcome : outcomes)
    rows.push_back(row_of(material, outcomes.front(), outcome));
  switch (format) {
    case Format::md:
      return as_markdown(head, rows);
    case Format::csv:
      return as_csv(rows);
    case Format::json:
      return as_json(head, rows);
  }
  return "";
}

}  // namespace wdmoe::cli::eval
