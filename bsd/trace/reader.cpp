#include "bsd/trace/reader.h"

#include <cerrno>
#include <cmath>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <unistd.h>

#include "common/fd.h"
#include "schemas/trace_generated.h"
#include "weights/file.h"

namespace wdmoe::bsd::trace {
namespace {

constexpr std::size_t kMostHeaderBytes = 4096;  // the header's frame; its model_id has 64 bytes
constexpr std::size_t kMostModelIdBytes = 128;
constexpr std::uint16_t kVersion = 1;
// TracePart -> header or chunk -> vector or string.
constexpr flatbuffers::uoffset_t kMaxDepth = 4, kMaxTables = 4;

template <class T>
std::size_t size_of(const T* vector) {
  return vector == nullptr ? 0 : vector->size();
}

}  // namespace

struct Reader::Parts {
  Parts(OwnedFd file_in, std::filesystem::path path_in)
      : file(std::move(file_in)), path(std::move(path_in)) {}

  tl::unexpected<Error> malformed(const std::string& what) const {
    return fail(Code::bad_input, path.string() + ": not a sound trace: " + what);
  }
  Result<std::size_t> read_up_to(void* to, std::size_t size);
  Result<const fb::TracePart*> next_frame(std::size_t most_bytes);
  Result<void> read_header();
  Result<bool> open_chunk();
  Result<void> take_runs(const fb::TraceRecord& in);
  Result<void> take_probabilities(std::size_t rows);
  Result<void> take_choices(std::size_t rows, std::size_t count);

  OwnedFd file;
  const std::filesystem::path path;
  Header header;
  bool cut_off = false;
  std::vector<std::uint64_t> frame;  // FlatBuffers wants its memory aligned

  // the chunk under way, and how much of it was handed out
  const fb::TraceChunk* chunk = nullptr;
  std::size_t record = 0, run = 0, probability = 0, choice = 0;
  // the record handed out
  std::vector<Run> runs;
  std::vector<float> probabilities;
  Selection choices;
  std::vector<std::size_t> chosen_by;  // [experts] the last row that chose it; kMostRows: none did
};

/// Fewer than `size` bytes only at the file's end.
Result<std::size_t> Reader::Parts::read_up_to(void* to, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), static_cast<char*>(to) + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return fail(Code::io,
                  path.string() + ": cannot read: " + std::generic_category().message(errno));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

/// The next frame, verified; null at the end.
Result<const fb::TracePart*> Reader::Parts::next_frame(std::size_t most_bytes) {
  unsigned char count[4] = {};
  const auto got = read_up_to(count, sizeof count);
  if (!got) return tl::unexpected<Error>(got.error());
  cut_off = *got != 0 && *got != sizeof count;
  if (*got != sizeof count) return nullptr;
  const std::size_t size = std::size_t{count[0]} | std::size_t{count[1]} << 8 |
                           std::size_t{count[2]} << 16 | std::size_t{count[3]} << 24;
  if (size > most_bytes) return malformed("a part of " + std::to_string(size) + " bytes");
  frame.resize((size + 7) / 8);
  const auto body = read_up_to(frame.data(), size);
  if (!body) return tl::unexpected<Error>(body.error());
  cut_off = *body != size;
  if (cut_off) return nullptr;
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(frame.data());
  flatbuffers::Verifier verifier(bytes, size, kMaxDepth, kMaxTables);
  if (!fb::VerifyTracePartBuffer(verifier)) return malformed("a part does not verify");
  return fb::GetTracePart(bytes);
}

Result<void> Reader::Parts::read_header() {
  const auto part = next_frame(kMostHeaderBytes);
  if (!part) return tl::unexpected<Error>(part.error());
  const fb::TraceHeader* in = *part == nullptr ? nullptr : (*part)->header();
  if (in == nullptr) return malformed("it has no header (expected a file of `wdmoe trace record`)");
  if (in->version() != kVersion)
    return fail(Code::unsupported, path.string() + ": trace format " +
                                       std::to_string(in->version()) + ", this program reads " +
                                       std::to_string(kVersion));
  if (size_of(in->model_id()) > kMostModelIdBytes) return malformed("its model_id is too long");
  header = {in->model_id() == nullptr ? std::string() : in->model_id()->str(), in->layers(),
            in->experts(), in->top_k()};
  return fits(header) ? Result<void>{} : malformed("its model's shape is out of range");
}

Result<bool> Reader::Parts::open_chunk() {
  const auto part = next_frame(kMostFrameBytes);
  if (!part) return tl::unexpected<Error>(part.error());
  if (*part == nullptr) return false;
  chunk = (*part)->chunk();
  record = run = probability = choice = 0;
  if (chunk == nullptr || size_of(chunk->records()) == 0)
    return malformed("a part without records");
  return true;
}

Result<void> Reader::Parts::take_runs(const fb::TraceRecord& in) {
  if (in.runs() > size_of(chunk->runs()) - run) return malformed("more runs than there are");
  if (in.runs() == 0 && record == 0) return malformed("a record repeats the runs of none");
  if (in.runs() > 0) runs.clear();
  for (std::size_t i = 0; i < in.runs(); ++i) {
    const fb::TraceRun& from = *chunk->runs()->Get(static_cast<flatbuffers::uoffset_t>(run++));
    runs.push_back({from.sequence(), from.position(), from.rows()});
  }
  std::uint64_t total = 0;
  for (const Run& one : runs) total += one.rows;
  return total == in.rows() ? Result<void>{} : malformed("runs and rows do not agree");
}

Result<void> Reader::Parts::take_probabilities(std::size_t rows) {
  const std::size_t count = rows * header.experts;
  if (count > size_of(chunk->probabilities()) - probability)
    return malformed("fewer probabilities than its rows need");
  probabilities.resize(count);
  for (float& value : probabilities) {
    value = float_from_f16(
        chunk->probabilities()->Get(static_cast<flatbuffers::uoffset_t>(probability++)));
    if (!(value >= 0 && value <= 1)) return malformed("a probability outside 0 to 1");
  }
  return {};
}

Result<void> Reader::Parts::take_choices(std::size_t rows, std::size_t count) {
  if (count > size_of(chunk->choices()) - choice) return malformed("more choices than there are");
  choices.clear();
  chosen_by.assign(header.experts, kMostRows);
  for (std::size_t i = 0; i < count; ++i) {
    const fb::TraceChoice& in =
        *chunk->choices()->Get(static_cast<flatbuffers::uoffset_t>(choice++));
    const float weight = float_from_f16(in.weight());
    if (in.row() >= rows || in.expert() >= header.experts || !std::isfinite(weight))
      return malformed("a choice outside its record");
    if (!choices.empty() && choices.back().row > in.row())
      return malformed("choices are not ordered by row");
    if (std::exchange(chosen_by[in.expert()], in.row()) == in.row())
      return malformed("a row chooses an expert twice");
    choices.push_back({in.row(), in.expert(), in.device(), weight});
  }
  return {};
}

Result<std::unique_ptr<Reader>> Reader::open(const std::filesystem::path& path) {
  auto file = weights::open_regular(path);
  if (!file) return tl::unexpected<Error>(std::move(file).error());
  auto parts = std::make_unique<Parts>(std::move(file->fd), path);
  WDMOE_TRY(parts->read_header());
  return std::unique_ptr<Reader>(new Reader(std::move(parts)));
}

Reader::Reader(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Reader::~Reader() = default;

const Header& Reader::header() const {
  return parts_->header;
}

Result<bool> Reader::next(Record& record) {
  Parts& parts = *parts_;
  if (parts.chunk == nullptr || parts.record == size_of(parts.chunk->records())) {
    parts.chunk = nullptr;
    const auto opened = parts.open_chunk();
    if (!opened || !*opened) return opened;
  }
  const fb::TraceRecord& in =
      *parts.chunk->records()->Get(static_cast<flatbuffers::uoffset_t>(parts.record));
  if (in.layer() >= parts.header.layers) return parts.malformed("a layer beyond its model");
  if (in.rows() < 1 || in.rows() > kMostRows) return parts.malformed("a record without rows");
  WDMOE_TRY(parts.take_runs(in));
  WDMOE_TRY(parts.take_probabilities(in.rows()));
  WDMOE_TRY(parts.take_choices(in.rows(), in.choices()));
  ++parts.record;
  record = {in.step(),
            in.layer(),
            {parts.runs.data(), parts.runs.size()},
            Matrix<const float>(parts.probabilities.data(), in.rows(), parts.header.experts),
            {parts.choices.data(), parts.choices.size()}};
  return true;
}

bool Reader::truncated() const {
  return parts_->cut_off;
}

}  // namespace wdmoe::bsd::trace
