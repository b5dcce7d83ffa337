#include "bsd/trace/recorder.h"

#include <algorithm>
#include <utility>

namespace wdmoe::bsd::trace {
namespace {

constexpr std::size_t kLongestName = 64;

/// A bare file name: nothing that leads out of the directory, nothing hidden.
bool is_bare(const std::string& name) {
  return !name.empty() && name.size() <= kLongestName && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

}  // namespace

void cut_runs(Span<const Run> runs, std::size_t first_row, std::size_t rows,
              std::vector<Run>& out) {
  out.clear();
  std::size_t row = 0;  // of the batch, where the run begins
  for (const Run& run : runs) {
    const std::size_t begin = std::max(row, first_row);
    const std::size_t end = std::min<std::size_t>(row + run.rows, first_row + rows);
    if (begin < end)
      out.push_back({run.sequence, run.position + static_cast<std::uint32_t>(begin - row),
                     static_cast<std::uint32_t>(end - begin)});
    row += run.rows;
  }
}

Recorder::Recorder(Options options, const Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

Recorder::~Recorder() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (writer_ != nullptr) finish();
}

Result<Progress> Recorder::start(const std::string& name, const Limits& limits) {
  if (options_.directory.empty())
    return fail(Code::denied,
                "recording is off on this base station: set [trace] directory in its settings");
  if (!is_bare(name))
    return fail(Code::bad_input, "name: expected a bare file name of at most " +
                                     std::to_string(kLongestName) +
                                     " letters, digits, '.', '_' and '-'");
  const std::lock_guard<std::mutex> lock(mutex_);
  if (writer_ != nullptr)
    return fail(Code::busy, "the recording " + progress_.name + " is under way; stop it first");
  auto writer = Writer::create(options_.directory / name, options_.model, options_.most_bytes);
  if (!writer) return tl::unexpected<Error>(writer.error());
  writer_ = std::move(*writer);
  progress_ = {};
  progress_.recording = true;
  progress_.name = name;
  limits_ = limits;
  until_ = clock_.now() + limits.time;
  in_step_ = full_ = false;
  active_ = true;
  return progress_;
}

Result<Progress> Recorder::stop() {
  active_ = false;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (writer_ == nullptr) return fail(Code::not_found, "no recording is under way");
  finish();
  return progress_;
}

Progress Recorder::progress() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return progress_;
}

void Recorder::finish() {
  if (const auto done = writer_->finish(); !done) progress_.error = done.error().text;
  progress_.recording = false;
  progress_.bytes = writer_->bytes();
  writer_.reset();
}

void Recorder::decided(const Decision& decision) {
  if (!active_.load(std::memory_order_relaxed)) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (writer_ == nullptr || full_) return;
  take(decision);
  if (!full_) return;
  active_ = false;
  options_.on_full();
}

/// Whole steps only: the first layer begins one, the last layer's last rows end it.
void Recorder::take(const Decision& decision) {
  const Matrix<const float>& p = decision.input.probabilities;
  std::size_t batch = 0;
  for (const RowRun& run : decision.runs) batch += run.rows;
  if (decision.input.layer == 0 && decision.first_row == 0) {
    full_ = progress_.tokens >= limits_.tokens || clock_.now() >= until_;
    in_step_ = true;
  }
  if (full_ || !in_step_) return;
  cut_runs(decision.runs, decision.first_row, p.rows, runs_);
  const auto done = writer_->append({decision.step,
                                     decision.input.layer,
                                     {runs_.data(), runs_.size()},
                                     p,
                                     {decision.selection.data(), decision.selection.size()}});
  if (!done) {
    progress_.error = done.error().text;
    full_ = true;
    return;
  }
  if (decision.input.layer == 0) progress_.tokens += p.rows;
  progress_.records = writer_->records();
  progress_.bytes = writer_->bytes();
  const bool last =
      decision.input.layer + 1 == options_.model.layers && decision.first_row + p.rows == batch;
  if (last && progress_.tokens >= limits_.tokens) full_ = true;
}

}  // namespace wdmoe::bsd::trace
