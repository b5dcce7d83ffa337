#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "bsd/trace/reader.h"
#include "bsd/trace/writer.h"
#include "tests/bsd/trace/random_trace.h"
#include "tests/support/temp_folder.h"

namespace wdmoe::bsd::trace {
namespace {

constexpr std::uint64_t kPlenty = 1 << 26;
const Header kHeader{std::string(64, 'a'), 3, 5, 2};

std::string bytes_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void put(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// One record; the last layer's ends its step.
Result<void> take(Writer& writer, const OwnedRecord& record) {
  WDMOE_TRY(writer.append(record.view()));
  return record.layer + 1 == kHeader.layers ? writer.end_step() : Result<void>{};
}

std::filesystem::path written(const test::TempFolder& folder,
                              const std::vector<OwnedRecord>& records) {
  const auto path = folder / "a.trace";
  auto writer = Writer::create(path, kHeader, kPlenty);
  REQUIRE(writer);
  for (const OwnedRecord& record : records) REQUIRE(take(**writer, record));
  REQUIRE((*writer)->finish());
  return path;
}

void check_same(const Record& got, const OwnedRecord& want) {
  CHECK(got.step == want.step);
  CHECK(got.layer == want.layer);
  REQUIRE(got.runs.size() == want.runs.size());
  for (std::size_t i = 0; i < want.runs.size(); ++i) {
    CHECK(got.runs[i].sequence == want.runs[i].sequence);
    CHECK(got.runs[i].position == want.runs[i].position);
    CHECK(got.runs[i].rows == want.runs[i].rows);
  }
  const Record wanted = want.view();
  REQUIRE(got.probabilities.rows == wanted.probabilities.rows);
  for (std::size_t i = 0; i < want.probabilities.size(); ++i)
    CHECK(got.probabilities.data[i] == float_from_f16(f16_from_float(want.probabilities[i])));
  REQUIRE(got.choices.size() == want.choices.size());
  for (std::size_t i = 0; i < want.choices.size(); ++i) {
    CHECK(got.choices[i].row == want.choices[i].row);
    CHECK(got.choices[i].expert == want.choices[i].expert);
    CHECK(got.choices[i].device == want.choices[i].device);
    CHECK(got.choices[i].weight == float_from_f16(f16_from_float(want.choices[i].weight)));
  }
}

/// Reads to the end or to an error; how many records came.
std::size_t drain(Reader& reader, std::string* error = nullptr) {
  std::size_t count = 0;
  Record record;
  while (true) {
    const auto more = reader.next(record);
    if (!more && error != nullptr) *error = more.error().text;
    if (!more || !*more) return count;
    ++count;
  }
}

TEST_CASE("trace: what was appended is read back, over several chunks") {
  const test::TempFolder folder;
  const auto records = random_trace(kHeader, 400, 1);
  const auto path = written(folder, records);
  REQUIRE(std::filesystem::file_size(path) > 2 * 65536);
  auto reader = Reader::open(path);
  REQUIRE(reader);
  CHECK((*reader)->header().model_id == kHeader.model_id);
  CHECK((*reader)->header().layers == 3);
  CHECK((*reader)->header().experts == 5);
  CHECK((*reader)->header().top_k == 2);
  Record record;
  for (const OwnedRecord& want : records) {
    const auto more = (*reader)->next(record);
    REQUIRE(more);
    REQUIRE(*more);
    check_same(record, want);
  }
  CHECK(!*(*reader)->next(record));
  CHECK(!(*reader)->truncated());
}

TEST_CASE("trace: one decode row of 8 experts costs at most 80 bytes a layer") {
  const Header mixtral{std::string(64, 'b'), 32, 8, 2};
  const test::TempFolder folder;
  auto writer = Writer::create(folder / "m.trace", mixtral, kPlenty);
  REQUIRE(writer);
  const OwnedRecord row{
      0, 0, 8, {{1, 0, 1}}, std::vector<float>(8, 0.125f), {{0, 1, 0, 0.5f}, {0, 2, 1, 0.5f}}};
  for (std::size_t i = 0; i < 10'000; ++i) {
    REQUIRE((*writer)->append(row.view()));
    REQUIRE((*writer)->end_step());
  }
  REQUIRE((*writer)->finish());
  CHECK(std::filesystem::file_size(folder / "m.trace") <= 10'000 * 80);
}

TEST_CASE("trace: a file that was cut off anywhere gives its whole chunks, or one line") {
  const test::TempFolder folder;
  const auto records = random_trace(kHeader, 400, 2);
  const std::string whole = bytes_of_file(written(folder, records));
  std::size_t most = 0;
  for (std::size_t size = 0; size < whole.size(); size += size < 400 ? 1 : 997) {
    put(folder / "cut", whole.substr(0, size));
    auto reader = Reader::open(folder / "cut");
    if (!reader) {
      CHECK(reader.error().text.find("cut") != std::string::npos);
      CHECK(reader.error().text.find('\n') == std::string::npos);
      continue;
    }
    std::string error;
    const std::size_t count = drain(**reader, &error);
    CHECK(error.empty());
    CHECK(count >= most);  // never fewer than a shorter file gave
    CHECK(count < records.size());
    most = count;
  }
  CHECK(most > records.size() / 2);
}

TEST_CASE("trace: flipped bits never crash the reader, and what it gives stays within bounds") {
  const test::TempFolder folder;
  const std::string whole = bytes_of_file(written(folder, random_trace(kHeader, 40, 3)));
  std::mt19937 random(4);
  std::size_t refused = 0;
  for (int round = 0; round < 1200; ++round) {
    std::string bad = whole;
    const int flips = 1 + static_cast<int>(random() % 3);
    // Half of them in the first bytes, where sizes and offsets are dense.
    for (int i = 0; i < flips; ++i) {
      const std::size_t at = random() % (round % 2 == 0 ? 300 : bad.size());
      bad[at] = static_cast<char>(bad[at] ^ (1 << (random() % 8)));
    }
    put(folder / "bad", bad);
    auto reader = Reader::open(folder / "bad");
    if (!reader) {
      ++refused;
      CHECK(!reader.error().text.empty());
      continue;
    }
    const Header& header = (*reader)->header();
    Record record;
    while (true) {
      const auto more = (*reader)->next(record);
      if (!more) ++refused;
      if (!more || !*more) break;
      REQUIRE(record.layer < header.layers);
      for (const Choice& choice : record.choices) {
        REQUIRE(choice.row < record.probabilities.rows);
        REQUIRE(choice.expert < header.experts);
      }
    }
  }
  CHECK(refused > 200);
}

TEST_CASE("trace: a full recording says so and stays readable") {
  const test::TempFolder folder;
  const auto records = random_trace(kHeader, 400, 5);
  auto writer = Writer::create(folder / "small", kHeader, 100'000);
  REQUIRE(writer);
  std::size_t taken = 0;
  Result<void> done;
  while (taken < records.size() && (done = take(**writer, records[taken]))) ++taken;
  REQUIRE(!done);
  CHECK(done.error().code == Code::limit);
  REQUIRE((*writer)->finish());
  CHECK(std::filesystem::file_size(folder / "small") <= 100'000);
  auto reader = Reader::open(folder / "small");
  REQUIRE(reader);
  CHECK(drain(**reader) == taken / 3 * 3);  // whole steps
}

TEST_CASE("trace: a step that failed is not in the file, whatever its size") {
  const test::TempFolder folder;
  auto records = random_trace(kHeader, 2, 6);
  auto writer = Writer::create(folder / "a", kHeader, kPlenty);
  REQUIRE(writer);
  for (int i = 0; i < 5000; ++i) REQUIRE((*writer)->append(records[0].view()));  // several chunks
  (*writer)->drop_step();
  CHECK((*writer)->records() == 0);
  for (const OwnedRecord& record : records) REQUIRE(take(**writer, record));
  REQUIRE((*writer)->append(records[0].view()));  // never ends
  REQUIRE((*writer)->finish());
  auto reader = Reader::open(folder / "a");
  REQUIRE(reader);
  CHECK(drain(**reader) == records.size());
}

/// No file of this process may grow beyond `bytes`, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit now{bytes, before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &now) == 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  void (*signal_)(int);
  rlimit before_{};
};

TEST_CASE("trace: what a full disk still took is kept, and the error given") {
  const test::TempFolder folder;
  const auto records = random_trace(kHeader, 400, 7);
  Result<void> done;
  std::uint64_t counted = 0;
  {
    const FileSizeLimit limit(100'000);
    auto writer = Writer::create(folder / "a", kHeader, kPlenty);
    REQUIRE(writer);
    for (const OwnedRecord& record : records) (void)take(**writer, record);
    done = (*writer)->finish();
    counted = (*writer)->records();
  }
  REQUIRE(!done);
  CHECK(done.error().code == Code::io);
  CHECK(done.error().text.find('\n') == std::string::npos);
  auto reader = Reader::open(folder / "a");
  REQUIRE(reader);
  std::string error;
  const std::size_t read = drain(**reader, &error);
  CHECK(error.empty());
  CHECK(read > 0);
  CHECK(read <= records.size());
  CHECK(read == counted);
  CHECK((*reader)->truncated());
}

TEST_CASE("trace: a recording that the disk has no room for does not begin") {
  const test::TempFolder folder;
  const auto refused = Writer::create(folder / "a", kHeader, std::uint64_t{1} << 62);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::limit);
  CHECK(refused.error().text.find("free") != std::string::npos);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("trace: nothing is overwritten, and nothing is left of what was not finished") {
  const test::TempFolder folder;
  put(folder / "there", "precious");
  const auto refused = Writer::create(folder / "there", kHeader, kPlenty);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::denied);
  CHECK(bytes_of_file(folder / "there") == "precious");
  { CHECK(Writer::create(folder / "gone", kHeader, kPlenty)); }
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("trace: a model whose statistics would not fit in memory is refused, both ways") {
  const test::TempFolder folder;
  const Header huge{std::string(64, 'a'), 4096, 1024, 2};
  const auto refused = Writer::create(folder / "huge", huge, kPlenty);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::limit);
  const auto top = Writer::create(folder / "top", {"top", 1, 8, 9}, kPlenty);
  REQUIRE(!top);
  CHECK(top.error().text.find("top_k 9") != std::string::npos);
  for (const Header& real :
       {Header{"mixtral", 32, 8, 2}, Header{"qwen3", 94, 128, 8}, Header{"deepseek", 61, 256, 8}})
    CHECK(fits(real));
  CHECK_FALSE(fits({"none", 0, 8, 2}));
  CHECK_FALSE(fits({"top", 1, 8, 9}));
  // The same shape in a file: the header's layers follow its version in the first frame.
  std::string bytes = bytes_of_file(written(folder, random_trace(kHeader, 1, 1)));
  const std::size_t at = bytes.find(std::string("\x03\0\0\0\x05\0\0\0", 8));
  const std::size_t reversed = bytes.find(std::string("\x05\0\0\0\x03\0\0\0", 8));
  REQUIRE((at == std::string::npos) != (reversed == std::string::npos));
  bytes.replace(std::min(at, reversed), 8, std::string("\0\x04\0\0\0\x04\0\0", 8));
  put(folder / "lying", bytes);
  const auto lying = Reader::open(folder / "lying");
  REQUIRE(!lying);
  CHECK(lying.error().text.find("shape") != std::string::npos);
}

TEST_CASE("trace: a row that chooses an expert twice is refused, however many choices it claims") {
  const test::TempFolder folder;
  OwnedRecord record{0, 2, 5, {{1, 0, 2}}, std::vector<float>(10, 0.2f), {}};
  for (std::uint32_t row = 0; row < 2; ++row)
    for (std::uint16_t expert = 0; expert < 5; ++expert)
      record.choices.push_back({row, expert, 0, 0.2f});
  auto all = Reader::open(written(folder, {record}));
  REQUIRE(all);
  CHECK(drain(**all) == 1);
  std::filesystem::remove(folder / "a.trace");
  // As many for one row would cost statistics the square of it.
  record.choices.assign(1'000'000, {1, 4, 0, 0.2f});
  auto reader = Reader::open(written(folder, {record}));
  REQUIRE(reader);
  std::string error;
  CHECK(drain(**reader, &error) == 0);
  CHECK(error.find("twice") != std::string::npos);
  CHECK(error.find('\n') == std::string::npos);
}

TEST_CASE("trace: what is no trace is refused in one line") {
  const test::TempFolder folder;
  put(folder / "text", "this is no trace at all, but long enough to have a length");
  put(folder / "empty", "");
  for (const char* name : {"text", "empty", "absent"}) {
    const auto reader = Reader::open(folder / name);
    REQUIRE(!reader);
    CHECK(reader.error().text.find(name) != std::string::npos);
  }
  const auto folder_itself = Reader::open(folder.path());
  REQUIRE(!folder_itself);
  CHECK(folder_itself.error().text.find("regular file") != std::string::npos);
}

}  // namespace
}  // namespace wdmoe::bsd::trace
