#include "common/config.h"

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "tests/support/temp_folder.h"

using namespace wdmoe;

namespace {

struct Sample {
  std::string connect = "tcp://here";
  std::uint32_t threads = 2;
  std::int64_t offset = -5;
  double share = 0.25;
  bool loud = false;
  std::chrono::milliseconds deadline{50};
  std::filesystem::path keys = "/keys";
  std::vector<std::string> names{"a", "b\"c"};
  std::string level = "info";

  template <class Visitor>
  void visit(Visitor&& v) {
    v("connect", connect, not_empty(), "where to");
    v("threads", threads, between(1, 8), "how many");
    v("log.level", level, one_of({"info", "debug"}), "how much");
    v("offset", offset, anything(), "any whole number");
    v("share", share, between(0, 1), "a part");
    v("loud", loud, anything(), "or quiet");
    v("deadline_ms", deadline, between(1, 1000), "until when");
    v("keys", keys, anything(), "a path");
    v("names", names, not_empty(), "a list");
  }
};

std::string error_of(std::string_view toml) {
  Sample sample;
  const auto settings = settings_of(sample);
  const auto result = read_toml(toml, "a.toml", settings);
  return result ? "" : result.error().text;
}

Sample load(std::vector<const char*> arguments, bool& check_only) {
  arguments.insert(arguments.begin(), "program");
  return load_config<Sample>(static_cast<int>(arguments.size()), arguments.data(),
                             {"program", "A program.", ""}, check_only);
}

Sample load(std::vector<const char*> arguments) {
  bool check_only = false;
  return load(std::move(arguments), check_only);
}

std::string complaint(std::vector<const char*> arguments) {
  try {
    load(std::move(arguments));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, std::string_view part) {
  CAPTURE(text);
  return text.find(part) != std::string::npos;
}

std::string write_file(const char* name, const std::string& text) {
  static const test::TempFolder folder;
  const auto path = folder / name;
  std::ofstream(path) << text;
  return path.string();
}

}  // namespace

TEST_CASE("config: TOML sets every kind of field") {
  Sample sample;
  const auto settings = settings_of(sample);
  const auto result = read_toml(R"(
connect = "ipc://x"
threads = 4
offset = 7
share = 1
loud = true
deadline_ms = 9
keys = "/other"
names = ["x", "y"]
[log]
level = "debug"
)",
                                "a.toml", settings);
  REQUIRE_MESSAGE(result, result.error().text);
  CHECK(sample.connect == "ipc://x");
  CHECK(sample.threads == 4);
  CHECK(sample.offset == 7);
  CHECK(sample.share == 1.0);
  CHECK(sample.loud);
  CHECK(sample.deadline.count() == 9);
  CHECK(sample.keys == "/other");
  CHECK(sample.names == std::vector<std::string>{"x", "y"});
  CHECK(sample.level == "debug");
}

namespace {

struct Entry {
  std::string name;
  std::vector<double> numbers;

  template <class Visitor>
  void visit(Visitor&& v) {
    v("name", name, not_empty(), "what it is called");
    v("numbers", numbers, between(0, 9), "some numbers");
  }
};

Result<void> read_entries_of(std::string_view text, std::vector<Entry>& entries) {
  Sample sample;
  const SettingList list{"entry", 3, [&] { return settings_of(entries.emplace_back()); }};
  return read_toml(text, "a.toml", settings_of(sample), Span<const SettingList>(&list, 1));
}

}  // namespace

TEST_CASE("config: arrays of tables become entries, and their mistakes are named") {
  std::vector<Entry> entries;
  REQUIRE(
      read_entries_of("threads = 2\n[[entry]]\nname = \"a\"\nnumbers = [1, 2.5]\n[[entry]]\n"
                      "numbers = []",
                      entries));
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].name == "a");
  CHECK(entries[0].numbers == std::vector<double>{1, 2.5});
  CHECK(entries[1].numbers.empty());
  struct Case {
    const char* toml;
    const char* says;
  };
  const Case cases[] = {
      {"[[entry]]\n[[entry]]\nnmae = \"b\"", "a.toml:3: unknown key 'nmae': did you mean 'name'"},
      {"[entry]\nname = \"b\"", "a.toml:1: entry: expected tables, each begun with [[entry]]"},
      {"entry = 3", "a.toml:1: entry: expected tables"},
      {"[[entry]]\n[[entry]]\n[[entry]]\n[[entry]]", "entry: 4 tables, at most 3 are allowed"},
      {"[[entry]]\nnumbers = [1, 10]", "numbers = [1, 10]: expected a list of numbers from 0 to 9"},
      {"[[entry]]\nnumbers = [nan]", "numbers = [nan]: expected a list of numbers"},
      {"[[entry]]\nnumbers = 3", "numbers = 3: expected a list of numbers"},
  };
  for (const Case& c : cases) {
    entries.clear();
    const auto refused = read_entries_of(c.toml, entries);
    REQUIRE(!refused.has_value());
    CHECK(contains(refused.error().text, c.says));
  }
}

TEST_CASE("config: a mistake in TOML is named with file, line, key and what was expected") {
  struct Case {
    const char* name;
    const char* toml;
    std::vector<const char*> says;
  };
  const Case cases[] = {
      {"unknown key", "\nthreds = 1", {"a.toml:2", "'threds'", "did you mean 'threads'"}},
      {"unknown key far from any",
       "xyzzyxyzzy = 1",
       {"a.toml:1", "xyzzyxyzzy", "known ones here are connect threads"}},
      {"unknown table", "\n\n[lag]\nlevel = \"info\"", {"a.toml:3", "'lag'"}},
      {"unknown key in a table",
       "[log]\nlevl = \"info\"",
       {"a.toml:2", "'log.levl'", "'log.level'"}},
      {"too large", "threads = 9", {"a.toml:1", "threads = 9", "whole number from 1 to 8"}},
      {"too small for the type", "threads = -1", {"threads = -1", "from 1 to 8"}},
      {"beyond 32 bits", "threads = 4294967298", {"threads"}},
      {"not a number", "threads = \"many\"", {"\"many\"", "whole number"}},
      {"a fraction", "threads = 1.5", {"1.5", "whole number"}},
      {"not a choice", "[log]\nlevel = \"loud\"", {"a.toml:2", "loud", "one of info, debug"}},
      {"empty text", "connect = \"\"", {"connect", "not empty"}},
      {"empty list", "names = []", {"names", "not empty"}},
      {"list of numbers", "names = [1]", {"names = [1]", "a list of texts, not empty"}},
      {"list of both", "names = [1, \"a\"]", {"names", "texts only, or numbers only"}},
      {"no share", "share = nan", {"share"}},
      {"a date", "connect = 2020-01-01", {"connect", "dates"}},
      {"no TOML", "this is no TOML", {"a.toml:1", "not TOML"}},
      {"twice", "threads = 1\nthreads = 2", {"a.toml:2", "not TOML"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const std::string error = error_of(c.toml);
    CHECK(error.find('\n') == std::string::npos);
    for (const char* part : c.says) CHECK(contains(error, part));
  }
}

TEST_CASE("config: --print-config is read back unchanged") {
  Sample sample;
  sample.names = {"quote \" backslash \\ tab \t", "ümlaut"};
  sample.share = 1e-7;
  sample.offset = std::numeric_limits<std::int64_t>::min();
  const std::string printed = print_toml(settings_of(sample));
  Sample again;
  const auto settings = settings_of(again);
  const auto result = read_toml(printed, "printed.toml", settings);
  REQUIRE_MESSAGE(result, result.error().text);
  CHECK(again.names == sample.names);
  CHECK(again.share == sample.share);
  CHECK(again.offset == sample.offset);
  CHECK(print_toml(settings) == printed);
}

TEST_CASE("config: flags win over the file") {
  const std::string file = write_file("wdmoe-config-test.toml", "threads = 3\nshare = 0.5\n");
  const Sample sample = load({"--config", file.c_str(), "--threads", "4", "--log-level", "debug",
                              "--loud", "--names", "p", "q", "--deadline-ms=7"});
  CHECK(sample.threads == 4);
  CHECK(sample.share == 0.5);
  CHECK(sample.level == "debug");
  CHECK(sample.loud);
  CHECK(sample.names == std::vector<std::string>{"p", "q"});
  CHECK(sample.deadline.count() == 7);
  CHECK_FALSE(load({"--loud=false"}).loud);
}

TEST_CASE("config: bad flags and files are one line") {
  CHECK(contains(complaint({"--threads", "0"}),
                 "--threads = 0: expected a whole number from 1 to 8"));
  CHECK(contains(complaint({"--threads", "four"}), "--threads four: expected a whole number"));
  CHECK(contains(complaint({"--threds", "4"}), "--threds"));
  CHECK(contains(complaint({"--config", "/nonexistent.toml"}), "/nonexistent.toml"));
  CHECK(contains(complaint({"--config", "/"}), "cannot read"));
  CHECK(contains(complaint({"--loud=maybe"}), "true or false"));
}

TEST_CASE("config: help, version and print-config end early; check is passed on") {
  CHECK_THROWS_AS(load({"--help"}), EarlyExit);
  CHECK_THROWS_AS(load({"--version"}), EarlyExit);
  try {
    load({"--print-config", "--threads", "5"});
    FAIL("must not return");
  } catch (const EarlyExit& exit) {
    CHECK(contains(exit.text, "\nthreads = 5\n"));
  }
  try {
    load({"--help"});
  } catch (const EarlyExit& exit) {
    Sample sample;
    for (const Setting& setting : settings_of(sample)) CHECK(contains(exit.text, setting.help));
  }
  bool check_only = false;
  load({"--check"}, check_only);
  CHECK(check_only);
}
