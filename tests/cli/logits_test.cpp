#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/golden_models.h"

using namespace wdmoe;
using nlohmann::json;

namespace {

struct Output {
  std::string text;  ///< standard output and error, one behind the other
  int status = 0;
};

Output run_tool(const std::string& arguments) {
  const std::string command = WDMOE_BINARY_DIR "/cli/wdmoe " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Output output;
  char buffer[4096];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe))
    output.text.append(buffer, got);
  output.status = ::pclose(pipe);
  return output;
}

}  // namespace

TEST_CASE("wdmoe logits: prints transformers' logits of every position as JSON") {
  const auto models = test::golden_models();
  REQUIRE(models.size() >= 4);
  for (const auto& golden : models) {
    CAPTURE(golden.path);
    const auto& prompt = golden.prompts.back();
    const std::string list = json(prompt.tokens).dump();
    const Output output = run_tool("logits " + golden.path.string() + " --threads 1 --tokens " +
                                   list.substr(1, list.size() - 2));
    REQUIRE(output.status == 0);
    const json printed = json::parse(output.text);
    CHECK(printed["tokens"] == json(prompt.tokens));
    REQUIRE(printed["logits"].size() == prompt.tokens.size());
    double worst = 0;
    for (std::size_t row = 0; row < prompt.logits.rows; ++row) {
      REQUIRE(printed["logits"][row].size() == prompt.logits.cols);
      for (std::size_t i = 0; i < prompt.logits.cols; ++i) {
        float expected = 0;
        std::memcpy(&expected, prompt.logits.row(row) + i * sizeof expected, sizeof expected);
        worst = std::max(worst, std::fabs(printed["logits"][row][i].get<double>() -
                                          static_cast<double>(expected)));
      }
    }
    CHECK(worst <= 2e-3);
  }
}

TEST_CASE("wdmoe logits: what cannot be done is one line and exit code 1") {
  const std::string model = test::golden_models().front().path.string();
  std::vector<std::string> bad{"logits " + model + " --tokens 1,999999",
                               "logits /nowhere --tokens 1",
                               "logits --bsd http://127.0.0.1:1 --tokens 1"};
  for (const char* list : {"''", ",", "1,", "1,,2", "1x", "4294967296", "'1 2'"})
    bad.push_back("logits " + model + " --tokens " + list);
  for (const std::string& arguments : bad) {
    CAPTURE(arguments);
    const Output output = run_tool(arguments);
    CHECK(WEXITSTATUS(output.status) == 1);
    CHECK(output.text.find("wdmoe logits: ") != std::string::npos);
    CHECK(std::count(output.text.begin(), output.text.end(), '\n') == 1);
  }
}
