#include "cli/eval/report.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "cli/eval/statistics.h"

using namespace wdmoe::cli::eval;
using nlohmann::json;

namespace {

Material material() {
  Material result;
  const Question question{{1}, {{2}, {3}}};
  result.sets.push_back({"x", std::vector<Question>(20, question), std::vector<std::size_t>(20)});
  result.sets.push_back({"y", std::vector<Question>(20, question), std::vector<std::size_t>(20)});
  result.windows.assign(3, {{1}, {{2, 3, 4, 5}}});
  return result;
}

Outcome outcome(Case how, std::size_t right, double loss, double waiting_s) {
  Outcome result;
  result.how = how;
  result.kept_gate_mass = 0.9;
  result.waiting = Waiting{waiting_s, 12, 100};
  std::vector<unsigned char> answers(20, 0);
  std::fill_n(answers.begin(), right, 1);
  result.answers.right = {answers, answers};
  result.answers.losses = {4 * loss, 4 * loss, 4 * loss};
  return result;
}

}  // namespace

TEST_CASE("report: every figure is taken against the first row") {
  const std::vector<Outcome> outcomes{outcome({"topk", "equal", {}, {}}, 18, 3.0, 6.0),
                                      outcome({"minmax", "exact", 0.95, {}}, 10, 3.1, 1.5)};
  const ReportHead head{"models/demo", "cell.toml", 7};
  const json report = json::parse(format_report(head, material(), outcomes, Format::json));
  CHECK(report["scenario"] == "cell.toml");
  CHECK(report["seed"] == 7);
  const json& first = report["results"][0];
  CHECK(first["latency_cut_vs_vanilla"] == 0.0);
  CHECK(first["perplexity"].get<double>() == doctest::Approx(std::exp(3.0)));
  CHECK(first["quality"].is_null());
  const json& now = report["results"][1];
  CHECK(now["quality"] == 0.95);
  CHECK(now["latency_cut_vs_vanilla"].get<double>() == doctest::Approx(0.75));
  CHECK(now["mean_waiting_latency_s"].get<double>() == doctest::Approx(1.5 / 12));
  CHECK(now["waiting_latency_per_token_s"].get<double>() == doctest::Approx(1.5 / 100));
  CHECK(now["perplexity_change"]["value"].get<double>() == doctest::Approx(std::expm1(0.1)));
  CHECK(now["perplexity_change"]["low"].get<double>() == doctest::Approx(std::expm1(0.1)));
  CHECK(now["window_losses"] == json(outcomes[1].answers.losses));
  const json& set = now["sets"]["x"];
  CHECK(set["accuracy"] == 0.5);
  CHECK(set["lost"] == 8);
  CHECK(set["p_value"].get<double>() == doctest::Approx(2.0 / 256));
  CHECK(set["low"].get<double>() == binomial_interval(10, 20).low);
  CHECK(now["sets"]["all"]["items"] == 40);
}

TEST_CASE("report: Markdown has one row a configuration, CSV the same columns in every line") {
  const std::vector<Outcome> outcomes{outcome({"topk", "", {}, {}}, 18, 3.0, 6.0),
                                      outcome({"budget", "", 0.5, {0.4, 0.6}}, 10, 3.1, 1.5)};
  const std::string text = format_report({"models/demo", "", 1}, material(), outcomes, Format::md);
  CHECK(text.find("| topk | - | - | 0.9000 |") != std::string::npos);
  CHECK(text.find("50.0 (27.2 to 72.8) * |") != std::string::npos);
  std::istringstream table(text);
  std::size_t bars = 0, rows = 0;
  for (std::string line; std::getline(table, line);) {
    if (line.empty() || line[0] != '|') continue;
    const auto count = static_cast<std::size_t>(std::count(line.begin(), line.end(), '|'));
    if (rows++ == 0) bars = count;
    CHECK(count == bars);
  }
  CHECK(rows == 4);

  std::istringstream csv(format_report({"m", "", 1}, material(), outcomes, Format::csv));
  std::string names, line;
  REQUIRE(std::getline(csv, names));
  CHECK(names.rfind("policy,allocator,quality,layer_quality,row_quality,kept_gate_mass,", 0) == 0);
  CHECK(names.find(",sets_all_p_value") != std::string::npos);
  while (std::getline(csv, line))
    CHECK(std::count(line.begin(), line.end(), ',') == std::count(names.begin(), names.end(), ','));
}

TEST_CASE("report: without held-out text or sets their columns are left out") {
  Material only_sets = material();
  only_sets.windows.clear();
  std::vector<Outcome> outcomes{outcome({"topk", "", {}, {}}, 18, 3.0, 6.0)};
  outcomes[0].answers.losses.clear();
  outcomes[0].waiting.reset();
  const json report = json::parse(format_report({"m", "", 1}, only_sets, outcomes, Format::json));
  CHECK_FALSE(report["results"][0].contains("perplexity"));
  CHECK(report["results"][0]["mean_waiting_latency_s"].is_null());
  CHECK(format_report({"m", "", 1}, only_sets, outcomes, Format::md).find("perplexity") ==
        std::string::npos);
}
