#include "bsd/trace/recorder.h"

#include <fstream>

#include <doctest/doctest.h>

#include "bsd/trace/reader.h"
#include "tests/support/temp_folder.h"

namespace wdmoe::bsd::trace {
namespace {

class HandClock final : public Clock {
 public:
  Instant now() const override { return at; }
  Instant at{};
};

constexpr std::size_t kLayers = 3, kExperts = 4;

/// Decides as the engine would: passes of two sequences, in parts of the batch.
class Engine {
 public:
  explicit Engine(Recorder& recorder) : recorder_(recorder) {}

  void layer(std::size_t layer, std::size_t first_row, std::size_t rows) {
    const std::vector<float> p(rows * kExperts, 0.25f);
    Selection selection;
    for (std::uint32_t row = 0; row < rows; ++row)
      selection.push_back({row, static_cast<std::uint16_t>(layer), 0, 1.0f});
    SelectionInput input;
    input.layer = layer;
    input.probabilities = {p.data(), rows, kExperts};
    const RowRun runs[] = {{7, 100 * step_, 2}, {9, 50 * step_, 3}};
    recorder_.decided({step_, runs, first_row, input, selection, {}});
  }
  /// One pass of five rows, in two parts.
  void step() {
    ++step_;
    for (std::size_t l = 0; l < kLayers; ++l) {
      layer(l, 0, 3);
      layer(l, 3, 2);
    }
  }

 private:
  Recorder& recorder_;
  std::uint32_t step_ = 0;
};

struct Fixture {
  test::TempFolder folder;
  HandClock clock;
  int full = 0;
  Recorder::Options options(std::uint64_t most_bytes = 1 << 20) {
    return {{std::string(64, 'c'), kLayers, kExperts, 1}, folder.path(), most_bytes, [this] {
              ++full;
            }};
  }
};

struct Seen {
  std::size_t records = 0, rows_of_first_layer = 0;
  std::vector<Run> runs;  // of the first layer
};

Seen read(const std::filesystem::path& path) {
  auto reader = Reader::open(path);
  REQUIRE(reader);
  Seen seen;
  Record record;
  while (true) {
    const auto more = (*reader)->next(record);
    REQUIRE(more);
    if (!*more) break;
    ++seen.records;
    if (record.layer != 0) continue;
    seen.rows_of_first_layer += record.probabilities.rows;
    seen.runs.insert(seen.runs.end(), record.runs.begin(), record.runs.end());
  }
  CHECK_FALSE((*reader)->truncated());
  return seen;
}

TEST_CASE("recorder: records whole steps between start and stop, parts with their own runs") {
  Fixture f;
  Recorder recorder(f.options(), f.clock);
  Engine engine(recorder);
  engine.step();  // not recorded
  REQUIRE(recorder.start("a.trace", {}));
  engine.layer(1, 0, 5);  // the middle of a step that began before
  engine.step();
  engine.step();
  CHECK(recorder.progress().recording);
  CHECK(recorder.progress().tokens == 10);
  const auto stopped = recorder.stop();
  REQUIRE(stopped);
  CHECK_FALSE(stopped->recording);
  CHECK(stopped->records == 2 * kLayers * 2);
  CHECK(stopped->bytes == std::filesystem::file_size(f.folder / "a.trace"));
  engine.step();  // not recorded
  const Seen seen = read(f.folder / "a.trace");
  CHECK(seen.records == 2 * kLayers * 2);
  CHECK(seen.rows_of_first_layer == 10);
  REQUIRE(seen.runs.size() == 6);  // 2 + 1 rows in the first part, 2 in the second, two steps
  CHECK(seen.runs[0].sequence == 7);
  CHECK(seen.runs[0].rows == 2);
  CHECK(seen.runs[1].sequence == 9);
  CHECK(seen.runs[1].position == 100);
  CHECK(seen.runs[1].rows == 1);
  CHECK(seen.runs[2].position == 101);
  CHECK(seen.runs[2].rows == 2);
  CHECK_FALSE(recorder.stop());
}

TEST_CASE("recorder: a step that failed and was tried again is recorded once, as a whole") {
  Fixture f;
  Recorder recorder(f.options(), f.clock);
  Engine engine(recorder);
  REQUIRE(recorder.start("a", {10, std::chrono::seconds(60)}));
  for (int tries = 0; tries < 9; ++tries) {  // lost in the middle of a layer
    engine.layer(0, 0, 3);
    engine.layer(0, 3, 2);
    engine.layer(1, 0, 3);
  }
  CHECK(recorder.progress().tokens == 0);
  CHECK(f.full == 0);
  engine.step();
  engine.layer(0, 0, 5);  // and another, under way at the end
  const auto stopped = recorder.stop();
  REQUIRE(stopped);
  CHECK(stopped->tokens == 5);
  CHECK(stopped->records == kLayers * 2);
  const Seen seen = read(f.folder / "a");
  CHECK(seen.records == kLayers * 2);
  CHECK(seen.rows_of_first_layer == 5);
}

TEST_CASE("recorder: ends by itself with the step that reaches its tokens, or its time") {
  Fixture f;
  Recorder recorder(f.options(), f.clock);
  Engine engine(recorder);
  REQUIRE(recorder.start("tokens", {7, std::chrono::seconds(60)}));
  for (int i = 0; i < 4; ++i) engine.step();
  CHECK(f.full == 1);
  CHECK(recorder.progress().tokens == 10);
  REQUIRE(recorder.stop());
  CHECK(read(f.folder / "tokens").rows_of_first_layer == 10);

  REQUIRE(recorder.start("time", {1000, std::chrono::seconds(60)}));
  engine.step();
  f.clock.at += std::chrono::seconds(61);
  engine.step();
  CHECK(f.full == 2);
  REQUIRE(recorder.stop());
  CHECK(read(f.folder / "time").rows_of_first_layer == 5);
}

TEST_CASE("recorder: a full file ends the recording with its reason, and can be read") {
  Fixture f;
  Recorder recorder(f.options(2000), f.clock);
  Engine engine(recorder);
  REQUIRE(recorder.start("small", {}));
  for (int i = 0; i < 50; ++i) engine.step();
  CHECK(f.full == 1);
  const auto stopped = recorder.stop();
  REQUIRE(stopped);
  CHECK(stopped->error.find("full") != std::string::npos);
  CHECK(read(f.folder / "small").records == stopped->records);
  CHECK(std::filesystem::file_size(f.folder / "small") <= 2000);
}

TEST_CASE("recorder: refuses what could leave its directory or overwrite a file") {
  Fixture f;
  Recorder recorder(f.options(), f.clock);
  for (const char* name : {"", ".", "..", ".hidden", "a/b", "/etc/passwd", "../x", "a\nb", "a b"}) {
    CAPTURE(name);
    const auto started = recorder.start(name, {});
    REQUIRE_FALSE(started);
    CHECK(started.error().code == Code::bad_input);
  }
  CHECK_FALSE(recorder.start(std::string(65, 'x'), {}));
  std::ofstream(f.folder / "there") << "precious";
  const auto exists = recorder.start("there", {});
  REQUIRE_FALSE(exists);
  CHECK(exists.error().code == Code::denied);
  REQUIRE(recorder.start("one", {}));
  const auto second = recorder.start("two", {});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::busy);

  Recorder::Options off = f.options();
  off.directory.clear();
  Recorder none(off, f.clock);
  const auto refused = none.start("x", {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::denied);
  CHECK(refused.error().text.find("[trace] directory") != std::string::npos);
}

TEST_CASE("recorder: what runs when the station ends is finished") {
  Fixture f;
  {
    Recorder recorder(f.options(), f.clock);
    Engine engine(recorder);
    REQUIRE(recorder.start("last", {}));
    engine.step();
  }
  CHECK(read(f.folder / "last").records == kLayers * 2);
}

}  // namespace
}  // namespace wdmoe::bsd::trace
