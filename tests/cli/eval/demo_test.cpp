// The demo model's published scores, measured with transformers, come out of our own path too.

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "cli/eval/local_subject.h"
#include "cli/eval/report.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::cli::eval;
using nlohmann::json;

namespace {

const std::string kSource = WDMOE_SOURCE_DIR;

json read_json(const std::string& path) {
  std::ifstream file(kSource + "/" + path);
  REQUIRE(file);
  return json::parse(file);
}

}  // namespace

TEST_CASE("demo model: plain top-k reproduces transformers' accuracies and perplexity") {
  LocalOptions options;
  options.model = kSource + "/models/demo";
  options.threads = 2;
  auto subject = LocalSubject::open(options).value();
  const Tokenize tokenize = [&](std::string_view text, bool special) {
    return subject->tokenize(text, special);
  };
  const std::string data = kSource + "/models/demo/eval";
  // The sets with short questions; the others take minutes under sanitizers.
  const std::vector<std::string> names{"category", "pattern", "arithmetic"};
  constexpr std::size_t kWindows = 32;  // 16384 tokens, as in demo_perplexity.json
  Material material{
      tokenize_sets(load_task_sets(data, names, 0).value(), tokenize, subject->max_context())
          .value(),
      tokenize_windows(load_heldout(data).value(), tokenize, subject->max_context(), kWindows)
          .value()};
  const auto outcome = subject->run({"topk", "", {}, {}}, material, [](std::size_t) {});
  REQUIRE(outcome);
  CHECK(outcome->kept_gate_mass == 1.0);
  const json report =
      json::parse(format_report({"demo", "", 1}, material, {*outcome}, Format::json));
  const json& result = report["results"][0];

  const json expected = read_json("models/demo/evaluation.json");
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK(result["sets"][name]["items"] == expected["tasks"][name]["items"]);
    CHECK(result["sets"][name]["accuracy"].get<double>() ==
          doctest::Approx(expected["tasks"][name]["accuracy"].get<double>()).epsilon(1e-12));
  }
  const json golden = read_json("tests/golden/demo_perplexity.json");
  CHECK(result["tokens_scored"] == golden["tokens_scored"]);
  // Logits agree to about 1e-3 of transformers' (golden_model_test); their mean far better.
  CHECK(result["perplexity"].get<double>() ==
        doctest::Approx(golden["perplexity"].get<double>()).epsilon(1e-4));
}

namespace {

/// Two short questions a set and one window: what a look at a cell needs.
Material small_material(LocalSubject& subject) {
  const Tokenize tokenize = [&](std::string_view text, bool special) {
    return subject.tokenize(text, special);
  };
  const std::string data = kSource + "/models/demo/eval";
  const std::vector<std::string> names{"category", "tracking"};
  return {tokenize_sets(load_task_sets(data, names, 4).value(), tokenize, subject.max_context())
              .value(),
          tokenize_windows(load_heldout(data).value(), tokenize, subject.max_context(), 1).value()};
}

LocalOptions in_cell(const test::TempFolder& folder, const std::string& text) {
  const std::string file = (folder / "cell.toml").string();
  std::ofstream(file) << text;
  LocalOptions options;
  options.model = kSource + "/models/demo";
  options.threads = 1;
  options.scenario = file;
  return options;
}

}  // namespace

TEST_CASE("demo model in a cell: the allocator changes the waiting, the policy the answers") {
  const test::TempFolder folder;
  auto subject = LocalSubject::open(in_cell(folder, R"(name = "still"
[channel]
fading = "none"
[devices]
count = 8
[model]
hidden = 192
ffn = 320
layers = 6
)"))
                     .value();
  const Material material = small_material(*subject);
  const auto run = [&](const Case& how) {
    return subject->run(how, material, [](std::size_t) {}).value();
  };
  const Outcome equal = run({"topk", "equal", {}, {}}), exact = run({"topk", "exact", {}, {}});
  const Outcome minmax = run({"minmax", "exact", 0.8, {}});
  REQUIRE(equal.waiting);
  // Contexts of a set with the endings that have more than one token, then the window: six layers
  // of at most five steps.
  CHECK(equal.waiting->exchanges % 6 == 0);
  CHECK(equal.waiting->exchanges <= 30);
  CHECK(equal.waiting->exchanges == exact.waiting->exchanges);
  CHECK(equal.waiting->tokens == exact.waiting->tokens);
  CHECK(exact.answers.losses == equal.answers.losses);  // the text is the same to the last bit
  CHECK(exact.waiting->total_s < equal.waiting->total_s);
  CHECK(minmax.waiting->total_s < exact.waiting->total_s);
  CHECK(*minmax.kept_gate_mass >= 0.8 - 1e-9);
  CHECK(*minmax.kept_gate_mass < 1);
  CHECK(minmax.answers.losses != equal.answers.losses);
  CHECK(run({"minmax", "exact", 0.8, {}}).waiting->total_s == minmax.waiting->total_s);

  const std::vector<double> layers{1, 1, 0.6, 1, 1, 1};
  const Outcome by_layer = run({"budget", "equal", {}, layers});
  REQUIRE(by_layer.layer_kept.size() == 6);
  CHECK(by_layer.layer_kept[1] == doctest::Approx(1).epsilon(1e-6));
  CHECK(by_layer.layer_kept[2] < 0.8);
}

TEST_CASE("demo model in a cell: a cell with other experts is refused") {
  const test::TempFolder folder;
  auto subject =
      LocalSubject::open(in_cell(folder, "[devices]\ncount = 4\n[model]\nexperts = 4\n")).value();
  const Material material = small_material(*subject);
  const auto outcome = subject->run({"topk", "equal", {}, {}}, material, [](std::size_t) {});
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().text.find("8 experts") != std::string::npos);
}

TEST_CASE("demo model: budgets of another model are refused") {
  const test::TempFolder folder;
  REQUIRE(bsd::save_layer_budgets(folder / "b.json", {"other", {1, 1, 1, 1, 1, 1}, {}}));
  LocalOptions options;
  options.model = kSource + "/models/demo";
  options.threads = 1;
  const auto subject = LocalSubject::open(options).value();
  CHECK_FALSE(subject->load_budgets((folder / "b.json").string()));
  REQUIRE(bsd::save_layer_budgets(folder / "b.json",
                                  {subject->model_id().value(), {1, 1, 1, 1, 1, 1}, {}}));
  CHECK(subject->load_budgets((folder / "b.json").string()));

  const auto shipped = subject->load_budgets(kSource + "/models/demo/layer_budgets.json");
  REQUIRE(shipped);
  CHECK(bsd::allocate_increase(shipped->curves, 0.004).value() == shipped->layers);
}
