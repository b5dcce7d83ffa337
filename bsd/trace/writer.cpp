#include "bsd/trace/writer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "common/check.h"
#include "schemas/trace_generated.h"
#include "weights/file.h"

namespace wdmoe::bsd::trace {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{64} << 10;
// A FlatBuffer's own tables, offsets and padding around a chunk's vectors, and the byte count.
constexpr std::size_t kFrameOverhead = 128;

Result<void> check(const Header& header, const std::filesystem::path& path) {
  if (fits(header)) return {};
  return fail(Code::limit,
              path.string() + ": a trace takes at most " + std::to_string(kMostLayers) +
                  " layers of " + std::to_string(kMostExperts) + " experts, and " +
                  std::to_string(kMostPairs) +
                  " pairs of experts in all, top_k of 1 to all of a layer, not " +
                  std::to_string(header.layers) + " of " + std::to_string(header.experts) +
                  ", top_k " + std::to_string(header.top_k));
}

bool same(Span<const Run> a, const std::vector<Run>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Run& x, const Run& y) {
    return x.sequence == y.sequence && x.position == y.position && x.rows == y.rows;
  });
}

/// Some records, as they go into one frame.
struct Gathered {
  std::vector<fb::TraceRecord> records;
  std::vector<fb::TraceRun> runs;
  std::vector<std::uint16_t> probabilities;
  std::vector<fb::TraceChoice> choices;
  std::vector<Run> last_runs;  // of its last record

  std::size_t bytes() const {
    return records.size() * sizeof(fb::TraceRecord) + runs.size() * sizeof(fb::TraceRun) +
           probabilities.size() * 2 + choices.size() * sizeof(fb::TraceChoice);
  }
  void clear() {
    records.clear();
    runs.clear();
    probabilities.clear();
    choices.clear();
    last_runs.clear();
  }
  void add(const Record& record);
  /// Another's records behind these: its first one has runs of its own.
  void add(const Gathered& other) {
    const auto join = [](auto& to, const auto& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    join(records, other.records);
    join(runs, other.runs);
    join(probabilities, other.probabilities);
    join(choices, other.choices);
  }
};

void Gathered::add(const Record& record) {
  const Matrix<const float>& p = record.probabilities;
  const bool repeated = !records.empty() && same(record.runs, last_runs);
  records.emplace_back(record.step, static_cast<std::uint16_t>(record.layer),
                       static_cast<std::uint16_t>(repeated ? 0 : record.runs.size()),
                       static_cast<std::uint16_t>(p.rows), std::uint16_t{0},
                       static_cast<std::uint32_t>(record.choices.size()), 0u);
  if (!repeated) {
    for (const Run& run : record.runs) runs.emplace_back(run.sequence, run.position, run.rows);
    last_runs.assign(record.runs.begin(), record.runs.end());
  }
  for (std::size_t row = 0; row < p.rows; ++row)
    for (std::size_t expert = 0; expert < p.cols; ++expert)
      probabilities.push_back(f16_from_float(p.row(row)[expert]));
  for (const Choice& choice : record.choices)
    choices.emplace_back(static_cast<std::uint16_t>(choice.row), choice.expert, choice.device,
                         f16_from_float(choice.weight));
}

}  // namespace

struct Writer::Parts {
  Parts(weights::AtomicFile file_in, Header header_in, std::uint64_t most_bytes_in)
      : file(std::move(file_in)), header(std::move(header_in)), most_bytes(most_bytes_in) {}

  std::uint64_t step_bytes() const {
    std::uint64_t sum = 0;
    for (const Gathered& part : step) sum += part.bytes() + kFrameOverhead;
    return sum;
  }
  void drop_step() {
    step.resize(1);  // which keeps its memory for the next step
    step.front().clear();
  }
  Result<void> write_frame(flatbuffers::Offset<fb::TracePart> part);
  Result<void> write_header();
  Result<void> write_chunk();

  weights::AtomicFile file;
  const Header header;
  const std::uint64_t most_bytes;
  flatbuffers::FlatBufferBuilder builder;
  std::uint64_t written = 0, written_records = 0;
  std::optional<Error> broken;  // what stopped the writing; the file may end in half a frame

  Gathered chunk;                                        // whole steps, not written yet
  std::vector<Gathered> step{std::vector<Gathered>(1)};  // the one under way, in parts
};

Result<void> Writer::Parts::write_frame(flatbuffers::Offset<fb::TracePart> part) {
  fb::FinishTracePartBuffer(builder, part);
  const std::uint32_t size = builder.GetSize();
  std::array<std::byte, 4> count{};
  for (std::size_t i = 0; i < count.size(); ++i)
    count[i] = static_cast<std::byte>((size >> (8 * i)) & 0xff);
  WDMOE_TRY(file.write({count.data(), count.size()}));
  WDMOE_TRY(file.write({reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), size}));
  written += count.size() + size;
  builder.Clear();
  return {};
}

Result<void> Writer::Parts::write_header() {
  const auto id = builder.CreateString(header.model_id);
  const auto table = fb::CreateTraceHeader(
      builder, 1, id, static_cast<std::uint32_t>(header.layers),
      static_cast<std::uint32_t>(header.experts), static_cast<std::uint32_t>(header.top_k));
  return write_frame(fb::CreateTracePart(builder, table, 0));
}

/// Nothing follows a failure: the file may end in half a frame.
Result<void> Writer::Parts::write_chunk() {
  if (broken) {
    chunk.clear();
    return tl::unexpected<Error>(*broken);
  }
  if (chunk.records.empty()) return {};
  const auto records_at = builder.CreateVectorOfStructs(chunk.records);
  const auto runs_at = builder.CreateVectorOfStructs(chunk.runs);
  const auto probabilities_at = builder.CreateVector(chunk.probabilities);
  const auto choices_at = builder.CreateVectorOfStructs(chunk.choices);
  const auto table =
      fb::CreateTraceChunk(builder, records_at, runs_at, probabilities_at, choices_at);
  const std::uint64_t count = chunk.records.size();
  chunk.clear();
  const auto done = write_frame(fb::CreateTracePart(builder, 0, table));
  if (done)
    written_records += count;
  else
    broken = done.error();
  return done;
}

Result<std::unique_ptr<Writer>> Writer::create(const std::filesystem::path& path,
                                               const Header& header, std::uint64_t most_bytes) {
  WDMOE_TRY(check(header, path));
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored))
    return fail(Code::denied, path.string() + ": exists; choose another name or remove it");
  WDMOE_TRY(weights::check_space(path.parent_path(), most_bytes));
  auto file = weights::AtomicFile::create(path);
  if (!file) return tl::unexpected<Error>(std::move(file).error());
  auto parts = std::make_unique<Parts>(std::move(*file), header, most_bytes);
  WDMOE_TRY(parts->write_header());
  return std::unique_ptr<Writer>(new Writer(std::move(parts)));
}

Writer::Writer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Writer::~Writer() = default;

Result<void> Writer::append(const Record& record) {
  const Matrix<const float>& p = record.probabilities;
  WDMOE_CHECK(record.layer < parts_->header.layers && p.cols == parts_->header.experts);
  WDMOE_CHECK(p.rows >= 1 && p.rows <= kMostRows);
  WDMOE_CHECK(!record.runs.empty() && record.runs.size() <= p.rows);
  const std::uint64_t size = sizeof(fb::TraceRecord) + record.runs.size() * sizeof(fb::TraceRun) +
                             p.rows * p.cols * 2 + record.choices.size() * sizeof(fb::TraceChoice);
  if (bytes() + parts_->step_bytes() + size + kFrameOverhead > parts_->most_bytes)
    return fail(Code::limit,
                "the trace is full: at most " + std::to_string(parts_->most_bytes) + " bytes");
  if (parts_->step.back().bytes() >= kChunkBytes) parts_->step.emplace_back();
  parts_->step.back().add(record);
  return {};
}

Result<void> Writer::end_step() {
  Result<void> done;
  for (const Gathered& part : parts_->step) {
    parts_->chunk.add(part);
    if (done && parts_->chunk.bytes() >= kChunkBytes) done = parts_->write_chunk();
  }
  parts_->drop_step();
  return done;
}

void Writer::drop_step() {
  parts_->drop_step();
}

std::uint64_t Writer::bytes() const {
  return parts_->written + parts_->chunk.bytes();
}

std::uint64_t Writer::records() const {
  return parts_->written_records + parts_->chunk.records.size();
}

Result<void> Writer::finish() {
  const auto done = parts_->write_chunk();
  WDMOE_TRY(parts_->file.commit());
  return done;
}

}  // namespace wdmoe::bsd::trace
