// The subcommands that read and write model files, as the command line reaches them.

#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/describe.h"
#include "cli/progress.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::cli;
using wdmoe::test::TempFolder;

namespace {

/// Parses and runs `wdmoe ARGUMENTS`; a wrong command line is an Error too.
Result<int> wdmoe_command(std::vector<std::string> arguments) {
  CLI::App app("test", "wdmoe");
  Commands commands{app, {}};
  add_split(commands);
  add_inspect(commands);
  add_make_model(commands);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return fail(Code::bad_input, std::string("usage: ") + error.what());
  }
  return commands.chosen();
}

bool mentions(const Result<int>& result, const std::string& word) {
  return !result && result.error().text.find(word) != std::string::npos &&
         result.error().text.find('\n') == std::string::npos;
}

Result<int> make_small_model(const std::string& out) {
  return wdmoe_command({"make-model", "--hidden",   "16", "--ffn",   "24",  "--layers",
                        "3",          "--experts",  "4",  "--top-k", "2",   "--heads",
                        "4",          "--kv-heads", "2",  "--vocab", "300", "--dtype",
                        "bf16",       "--seed",     "7",  out});
}

}  // namespace

TEST_CASE("make-model, split and inspect: one chain, and each says what the other wrote") {
  const TempFolder folder;
  const std::string model = folder / "model", out = folder / "out";
  REQUIRE(make_small_model(model));
  REQUIRE(wdmoe_command({"split", model, "--agents", "2", "--out", out}));

  const auto whole = describe(model, false);
  REQUIRE(whole);
  CHECK((*whole)["kind"] == "checkpoint");
  CHECK((*whole)["shape"]["layers"] == 3);
  CHECK((*whole)["bytes_per_expert"] == 3 * 16 * 24 * 2);
  CHECK((*whole)["expert_bytes_per_layer"] == 4 * 3 * 16 * 24 * 2);
  const std::uint64_t total = (*whole)["total"]["parameters"];
  CHECK((*whole)["active_parameters"] == total - 3 * 2 * 3 * 16 * 24);  // 2 of 4 rest, 3 layers
  CHECK((*whole)["dtypes"].contains("BF16"));

  const auto shard = describe(out + "/agent-1", true);
  REQUIRE(shard);
  CHECK((*shard)["kind"] == "shard");
  CHECK((*shard)["model_id"] == (*whole)["model_id"]);
  CHECK((*shard)["experts"].size() == 6);
  CHECK((*shard)["experts"][1] == nlohmann::ordered_json::array({0, 3}));
  CHECK((*shard)["dtype"] == "bf16");

  const auto split = describe(out, true);
  REQUIRE(split);
  CHECK((*split)["kind"] == "split");
  CHECK((*split)["shards"].size() == 2);
  CHECK((*describe(out + "/manifest.json", true))["kind"] == "split");
  CHECK((*describe(out + "/agent-0/manifest.json", true))["kind"] == "manifest");
  CHECK((*describe(model + "/model.safetensors", true))["kind"] == "checkpoint");
  for (const auto& json : {*whole, *shard, *split}) {
    const std::string text = describe_as_text(json);
    CHECK(text.find((*whole)["model_id"].get<std::string>()) != std::string::npos);
    CHECK(text.find("sha256") != std::string::npos);
  }
}

TEST_CASE("inspect --verify: finds one changed byte that inspect alone overlooks") {
  const TempFolder folder;
  REQUIRE(make_small_model(folder / "model"));
  REQUIRE(wdmoe_command({"split", folder / "model", "--agents", "4", "--out", folder / "out"}));
  const auto file = folder / "out" / "agent-2" / "model.safetensors";
  std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekp(-1, std::ios::end);
  bytes.put('\x55');
  bytes.close();
  for (const char* path :
       {"out", "out/agent-2", "out/agent-2/manifest.json", "out/manifest.json"}) {
    CAPTURE(path);
    CHECK(describe(folder / path, false));
    const auto verified = describe(folder / path, true);
    REQUIRE_FALSE(verified);
    CHECK(verified.error().text.find("agent-2/model.safetensors") != std::string::npos);
  }
}

TEST_CASE("split: a plan file decides, and its mistakes carry its name") {
  const TempFolder folder;
  const std::string model = folder / "model", plan = folder / "plan.json";
  REQUIRE(make_small_model(model));
  std::ofstream(plan) << R"({"agents":[{"name":"attic","experts":{"all_layers":[0]}}]})";
  const auto refused = wdmoe_command({"split", model, "--plan", plan, "--out", folder / "out"});
  CHECK(mentions(refused, "plan.json"));
  CHECK(mentions(refused, "expert 1 of layer 0"));
  CHECK_FALSE(std::filesystem::exists(folder / "out"));
  std::ofstream(plan) << R"({"agents":[{"name":"attic","experts":[[2,3]]}],"bs":"rest"})";
  CHECK(wdmoe_command({"split", model, "--plan", plan, "--out", folder / "out", "--dtype", "f16",
                       "--output", "json"}));
  const auto split = describe(folder / "out", true);
  REQUIRE(split);
  CHECK((*split)["on_bs"].size() == 11);
  CHECK((*split)["shards"][0]["dtype"] == "f16");
}

TEST_CASE("commands: impossible wishes are refused in one line") {
  const TempFolder folder;
  const std::string model = folder / "model", out = folder / "out";
  REQUIRE(make_small_model(model));
  CHECK(mentions(make_small_model(model), "--force"));
  CHECK(mentions(wdmoe_command({"split", model, "--agents", "5", "--out", out}), "1 to 4"));
  CHECK(mentions(wdmoe_command({"split", model, "--agents", "0", "--out", out}), "1 to 4"));
  CHECK(mentions(wdmoe_command({"split", model, "--out", out}), "usage"));
  CHECK(mentions(wdmoe_command({"split", model, "--agents", "2", "--plan", "x", "--out", out}),
                 "usage"));
  CHECK(mentions(wdmoe_command({"split", model, "--agents", "2", "--out", out, "--dtype", "f64"}),
                 "usage"));
  CHECK(mentions(wdmoe_command({"split", folder / "none", "--agents", "2", "--out", out}), "none"));
  CHECK(mentions(wdmoe_command({"inspect", folder / "none"}), "none"));
  CHECK(mentions(wdmoe_command({"make-model", "--top-k", "9", out}), "--top-k"));
  CHECK(mentions(wdmoe_command({"make-model", "--layers", "-1", out}), "usage"));
  CHECK(mentions(wdmoe_command({"split", model, "--agents", "-1", "--out", out}), "usage"));
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("human_bytes: reads well at every size") {
  CHECK(human_bytes(0) == "0 bytes");
  CHECK(human_bytes(1023) == "1023 bytes");
  CHECK(human_bytes(1536) == "1.50 KiB");
  CHECK(human_bytes(UINT64_MAX) == "16.00 EiB");
}
