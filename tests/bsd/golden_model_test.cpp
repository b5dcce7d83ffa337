// The oracle: tests/golden/models/*, tiny Mixtral checkpoints with what transformers (f32) makes of
// them.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/local_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using nlohmann::json;

namespace {

constexpr double kMaxLogitError = 2e-3;  // issue 3's bound

std::vector<std::filesystem::path> golden_models() {
  const char* elsewhere = std::getenv("WDMOE_GOLDEN_MODELS");
  const std::filesystem::path root =
      elsewhere != nullptr ? elsewhere : WDMOE_SOURCE_DIR "/tests/golden/models";
  std::vector<std::filesystem::path> found;
  if (!std::filesystem::exists(root)) return found;
  for (const auto& entry : std::filesystem::directory_iterator(root))
    if (std::filesystem::exists(entry.path() / "golden.json")) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

json read(const std::filesystem::path& path) {
  return json::parse(std::ifstream(path));
}

double worst_error(const std::vector<float>& got, const json& expected) {
  double worst = 0;
  std::size_t i = 0;
  for (const json& row : expected)
    for (const json& value : row) {
      REQUIRE(i < got.size());
      worst = std::max(worst, std::fabs(static_cast<double>(got[i++]) - value.get<double>()));
    }
  REQUIRE(i == got.size());
  return worst;
}

}  // namespace

TEST_CASE("golden models: there are at least four") {
  CHECK(golden_models().size() >= 4);
}

TEST_CASE("golden models: prefill, chunks and single tokens give transformers' logits") {
  for (const auto& path : golden_models()) {
    CAPTURE(path);
    const json golden = read(path / "golden.json");
    const auto ids = golden["ids"].get<std::vector<Token>>();
    test::LocalModel model(path, 2);
    const std::size_t third = ids.size() / 3;
    const double whole = worst_error(model.logits(ids, {ids.size()}), golden["logits"]);
    const double chunks =
        worst_error(model.logits(ids, {third, 1, ids.size() - third - 1}), golden["logits"]);
    const double single =
        worst_error(model.logits(ids, std::vector<std::size_t>(ids.size(), 1)), golden["logits"]);
    MESSAGE(path.filename().string() << ": worst |logit error| whole " << whole << ", chunks "
                                     << chunks << ", single tokens " << single);
    CHECK(whole <= kMaxLogitError);
    CHECK(chunks <= kMaxLogitError);
    CHECK(single <= kMaxLogitError);
  }
}

TEST_CASE("golden models: greedy continuations of 64 tokens are transformers'") {
  for (const auto& path : golden_models()) {
    CAPTURE(path);
    const json golden = read(path / "golden.json");
    const auto expected = golden["greedy"].get<std::vector<Token>>();
    REQUIRE(expected.size() >= 64);
    test::LocalModel model(path, 2);
    CHECK(model.greedy(golden["ids"].get<std::vector<Token>>(), expected.size()) == expected);
  }
}
