#include "cli/eval/dataset.h"

#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::cli::eval;

namespace {

const char* const kLine = R"({"id": "a-0", "prompt": "p", "choices": ["x", "y"], "answer": 1})";

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("parse_items: reads lines, skips empty ones, ignores further keys") {
  const auto items = parse_items(std::string(kLine) + "\n\n" +
                                 R"({"id": "b", "prompt": "q\n", "choices": [" 1", " 2", " 3"],)"
                                 R"( "answer": 0, "source": {"any": [1]}})"
                                 "\r\n");
  REQUIRE(items);
  REQUIRE(items->size() == 2);
  CHECK(items->front().answer == 1);
  CHECK(items->back().prompt == "q\n");
  CHECK(items->back().choices == std::vector<std::string>{" 1", " 2", " 3"});
}

TEST_CASE("parse_items: names the line and what it should hold") {
  struct Case {
    const char* line;
    const char* says;
  };
  const Case cases[] = {
      {"nonsense", "line 2: is not a JSON object"},
      {"[1]", "line 2: is not a JSON object"},
      {R"({"id": 1, "prompt": "p", "choices": ["x", "y"], "answer": 0})", "\"id\" and"},
      {R"({"id": "a", "choices": ["x", "y"], "answer": 0})", "\"prompt\" should be"},
      {R"({"id": "a", "prompt": "p", "choices": ["x"], "answer": 0})", "list of 2 to 64"},
      {R"({"id": "a", "prompt": "p", "choices": ["x", ""], "answer": 0})", "not empty"},
      {R"({"id": "a", "prompt": "p", "choices": ["x", 3], "answer": 0})", "not empty"},
      {R"({"id": "a", "prompt": "p", "choices": ["x", "y"], "answer": 2})", "index of a choice"},
      {R"({"id": "a", "prompt": "p", "choices": ["x", "y"], "answer": -1})", "index of a choice"},
      {R"({"id": "a", "prompt": "p", "choices": ["x", "y"]})", "index of a choice"},
      {"[[[[[[[[[[1]]]]]]]]]]", "nests too deeply"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.line);
    const auto items = parse_items(std::string(kLine) + "\n" + c.line);
    REQUIRE_FALSE(items);
    CHECK(items.error().text.find(c.says) != std::string::npos);
  }
  CHECK_FALSE(parse_items(""));
  CHECK(parse_items(std::string(2 << 20, ' ')).error().text == "holds no item");
  CHECK(parse_items("x" + std::string(2 << 20, ' ')).error().code == Code::limit);
}

TEST_CASE("load_task_sets: finds sets below the folder, by path; names and limit choose") {
  const test::TempFolder folder;
  write(folder / "b.jsonl", std::string(kLine) + "\n" + kLine);
  write(folder.path() / "hard" / "a.jsonl", kLine);
  write(folder / "heldout.txt", "some text");
  const auto all = load_task_sets(folder.path(), {}, 1);
  REQUIRE(all);
  REQUIRE(all->size() == 2);
  CHECK((*all)[0].name == "b");
  CHECK((*all)[0].items.size() == 1);
  CHECK((*all)[1].name == "a");
  const std::vector<std::string> one{"a"}, none{"c"};
  CHECK(load_task_sets(folder.path(), one, 0)->front().name == "a");
  const auto unknown = load_task_sets(folder.path(), none, 0);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().text.find("there are: b, a") != std::string::npos);
  CHECK(*load_heldout(folder.path()) == "some text");

  write(folder / "bad.jsonl", "{}");
  const auto bad = load_task_sets(folder.path(), {}, 0);
  REQUIRE_FALSE(bad);
  CHECK(bad.error().text.find("bad.jsonl: line 1: ") != std::string::npos);
  CHECK_FALSE(load_task_sets(folder / "nowhere", {}, 0));
  CHECK_FALSE(load_heldout(folder / "hard"));
}
