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
  (void)stop();
}

Result<Progress> Recorder::start(const std::string& name, const Limits& limits) {
  if (options_.directory.empty())
    return fail(Code::denied,
                "recording is off on this base station: set [trace] directory in its settings");
  if (!is_bare(name))
    return fail(Code::bad_input, "name: expected a bare file name of at most " +
                                     std::to_string(kLongestName) +
                                     " letters, digits, '.', '_' and '-'");
  const std::lock_guard<std::mutex> one_at_a_time(control_mutex_);
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
  const std::lock_guard<std::mutex> one_at_a_time(control_mutex_);
  std::unique_ptr<Writer> writer;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    writer = std::move(writer_);
  }
  if (writer == nullptr) return fail(Code::not_found, "no recording is under way");
  const auto done = writer->finish();  // to the disk: the engine does not wait for that
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!done) progress_.error = done.error().text;
  progress_.recording = false;
  progress_.records = writer->records();
  progress_.bytes = writer->bytes();
  return progress_;
}

Progress Recorder::progress() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return progress_;
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

/// Whole steps only: the first layer begins one, the last layer's last rows end it.  One that began
/// and did not end has failed; the engine tries it again.
void Recorder::take(const Decision& decision) {
  const Matrix<const float>& p = decision.input.probabilities;
  std::size_t batch = 0;
  for (const RowRun& run : decision.runs) batch += run.rows;
  if (decision.input.layer == 0 && decision.first_row == 0) {
    writer_->drop_step();
    full_ = clock_.now() >= until_;
    in_step_ = true;
  }
  if (full_ || !in_step_) return;
  cut_runs(decision.runs, decision.first_row, p.rows, runs_);
  const auto appended = writer_->append({decision.step,
                                         decision.input.layer,
                                         {runs_.data(), runs_.size()},
                                         p,
                                         {decision.selection.data(), decision.selection.size()}});
  if (!appended) return end(appended.error());
  if (decision.input.layer + 1 == options_.model.layers && decision.first_row + p.rows == batch)
    end_step(batch);
}

void Recorder::end_step(std::size_t tokens) {
  in_step_ = false;
  if (const auto done = writer_->end_step(); !done) return end(done.error());
  progress_.tokens += tokens;
  progress_.records = writer_->records();
  progress_.bytes = writer_->bytes();
  full_ = progress_.tokens >= limits_.tokens;
}

void Recorder::end(const Error& error) {
  progress_.error = error.text;
  full_ = true;
}

}  // namespace wdmoe::bsd::trace
