// Recordings of field trials: what is read, and the page made of it.

#include <cmath>
#include <fstream>

#include <doctest/doctest.h>

#include "cli/field_report.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::cli;

namespace {

constexpr const char* kHeader =
    R"({"record":"header","format":"wdmoe-field-1","software":"wdmoe 1","started":"2026-01-01T00:00:00Z","labels":["place=<yard>"],"config":"[radio]\n"})";

std::string sample(double t, double tokens, double exchanges, double wait_s, double predicted_s) {
  const auto text = [](double value) { return std::to_string(value); };
  return R"({"record":"sample","t":)" + text(t) + R"(,"status":{"policy":"minmax","engine":{)" +
         R"("generated_tokens":)" + text(tokens) + R"(},"radio":{"state":"off"},"agents":[)" +
         R"({"name":"a","up":true,"bytes_sent":)" + text(1e6 * t) +
         R"(,"bytes_received":5,"link":{"down":{"rate_bps":2e7},"up":{"rate_bps":null}}},)" +
         R"({"name":"b","up":false,"link":null}]},"metrics":{)" +
         R"("wdmoe_layer_waits_total{layer=\"0\",predicted=\"yes\"}":)" + text(exchanges) +
         R"(,"wdmoe_layer_wait_seconds_total{layer=\"0\",kind=\"measured_of_predicted\"}":)" +
         text(wait_s) + R"(,"wdmoe_layer_wait_seconds_total{layer=\"0\",kind=\"predicted\"}":)" +
         text(predicted_s) + "}}";
}

struct Written {
  explicit Written(const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  test::TempFolder folder;
  std::filesystem::path path = folder.path() / "run.jsonl";
};

std::string whole() {
  return std::string(kHeader) + "\n" + sample(0, 10, 100, 1, 1) + "\n" +
         R"({"record":"note","t":0.7,"text":"behind the wall & back"})" + "\n" +
         sample(2, 30, 300, 2, 1.5) + "\n" + R"({"record":"end","t":2,"reason":"time"})" + "\n";
}

}  // namespace

TEST_CASE("field: metrics are read by name and labels, without buckets and comments") {
  const auto metrics = metrics_of(
      "# HELP a b\n# TYPE a counter\na_total{x=\"1 2\"} 3\nplain 4.5e2\nh_bucket{le=\"1\"} 7\n"
      "h_sum 8\nnot_finite NaN\njunk\n");
  CHECK(metrics ==
        std::map<std::string, double>{{"a_total{x=\"1 2\"}", 3}, {"plain", 450}, {"h_sum", 8}});
}

TEST_CASE("field: a recording comes back, and its totals are what grew") {
  const Written written(whole());
  const auto run = read_field(written.path);
  REQUIRE_MESSAGE(run, run.error().text);
  CHECK(run->software == "wdmoe 1");
  CHECK(run->labels == std::vector<std::string>{"place=<yard>"});
  CHECK(run->end_reason == "time");
  REQUIRE(run->notes.size() == 1);
  CHECK(run->notes[0].first == 0.7);
  REQUIRE(run->points.size() == 2);
  CHECK(run->points[0].agents[0].down_bps == 2e7);
  CHECK(std::isnan(run->points[0].agents[0].up_bps));
  CHECK(std::isnan(run->points[0].agents[1].down_bps));
  const FieldTotals totals = totals_of(*run);
  CHECK(totals.seconds == 2);
  CHECK(totals.tokens_per_s == 10);
  CHECK(totals.wait_s == doctest::Approx(1.0 / 200));
}

TEST_CASE("field: a last line that was cut does not spoil the rest") {
  const std::string text = whole();
  const std::size_t last = text.rfind(R"({"record":"end")");
  for (const std::size_t size : {last, last + 1, text.size() - 2}) {
    CAPTURE(size);
    const Written written(text.substr(0, size));
    CHECK(read_field(written.path));
  }
}

TEST_CASE("field: what is no recording is refused with file and line") {
  struct Case {
    const char* name;
    std::string text;
    const char* says;
  };
  const std::string header = std::string(kHeader) + "\n";
  const Case cases[] = {
      {"empty", "", "0 samples"},
      {"no JSON", "hello\n", "no recording of wdmoe field record"},
      {"another format", "{\"format\":\"x\"}\n", "no recording of wdmoe field record"},
      {"header alone", header, "0 samples"},
      {"one sample", header + sample(0, 0, 0, 0, 0) + "\n", "1 samples"},
      {"junk in the middle", header + "junk\n" + sample(0, 0, 0, 0, 0) + "\n", "line 2"},
      {"an unknown record", header + "{\"record\":\"x\"}\n" + sample(0, 0, 0, 0, 0), "line 2"},
      {"a sample without time", header + "{\"record\":\"sample\"}\n" + sample(0, 0, 0, 0, 0),
       "line 2"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Written written(c.text);
    const auto run = read_field(written.path);
    REQUIRE_FALSE(run);
    CHECK(run.error().text.find(c.says) != std::string::npos);
    CHECK(run.error().text.find("run.jsonl") != std::string::npos);
    CHECK(run.error().text.find('\n') == std::string::npos);
  }
  CHECK_FALSE(read_field("/nonexistent/run.jsonl"));
}

TEST_CASE("field: two runs have the same figures, and nobody's words become markup") {
  const Written written(whole());
  const std::vector<FieldRun> runs{*read_field(written.path), *read_field(written.path)};
  const auto figures = figures_of(runs);
  REQUIRE(figures.size() >= 8);
  CHECK(figures.size() % 2 == 0);
  for (std::size_t index = 0; index < figures.size(); ++index) {
    CHECK(figures[index].run == index % 2);
    CHECK(figures[index].heading == figures[index - index % 2].heading);
    CHECK(figures[index].commands.find("nan") == std::string::npos);
  }
  const std::vector<std::string> drawings(figures.size(), "<?xml?><svg></svg>");
  const std::string page = page_of(runs, figures, drawings);
  CHECK(page.find("place=&lt;yard&gt;") != std::string::npos);
  CHECK(page.find("<yard>") == std::string::npos);
  CHECK(page.find("wall &amp; back") != std::string::npos);
  CHECK(page.find("<?xml") == std::string::npos);
  CHECK(page.find("10 1/s") != std::string::npos);
}
