// The demo model's published scores, measured with transformers, come out of our own path too.

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "cli/eval/local_subject.h"
#include "cli/eval/report.h"

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
  auto subject = LocalSubject::open({kSource + "/models/demo", 2, 512}).value();
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
