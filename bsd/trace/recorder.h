#pragma once
// A recording under way on a running station: started and stopped by the control API, fed by the
// engine thread.  Off, it costs one atomic load a decision.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bsd/moe/witness.h"
#include "bsd/trace/record.h"
#include "bsd/trace/writer.h"
#include "common/clock.h"
#include "common/result.h"

namespace wdmoe::bsd::trace {

/// When a recording ends by itself.
struct Limits {
  std::uint64_t tokens = std::uint64_t{1} << 40;
  std::chrono::seconds time{3600};
};

struct Progress {
  bool recording = false;
  std::string name;  ///< of the last recording; empty: none yet
  std::uint64_t tokens = 0, records = 0, bytes = 0;
  std::string error;  ///< why it ended before its limits; one line
};

class Recorder final : public SelectionWitness {
 public:
  struct Options {
    Header model;
    std::filesystem::path directory;  ///< the only place written to; empty: recording is off
    std::uint64_t most_bytes = 0;     ///< of one file
    /// Called once by the engine thread when a recording is full or its time is over; somebody
    /// else then calls stop().  Must not block.
    std::function<void()> on_full = [] {};
  };
  /// `clock` outlives the recorder.
  Recorder(Options options, const Clock& clock);
  ~Recorder() override;  ///< finishes what runs

  // Callable from any thread but the engine's:
  /// Errors: denied (no directory is configured, the file exists), bad_input (no bare file name),
  /// busy (another recording runs), limit (no room on the disk), io.
  Result<Progress> start(const std::string& name, const Limits& limits);
  /// Finishes the file.  not_found: nothing runs.
  Result<Progress> stop();
  Progress progress() const;
  /// Where the recording of that name is, or would be.
  std::string path_of(const std::string& name) const {
    return (options_.directory / name).string();
  }

  // Engine thread:
  void decided(const Decision& decision) override;
  void waited(const Wait&) override {}
  void completed() override {}

 private:
  void take(const Decision& decision);
  void end_step(std::size_t tokens);
  void end(const Error& error);

  const Options options_;
  const Clock& clock_;
  std::atomic<bool> active_{false};

  std::mutex control_mutex_;  // starts and stops, one at a time; locked before mutex_
  mutable std::mutex mutex_;  // what the engine thread shares; never held over a flush to disk
  std::unique_ptr<Writer> writer_;
  Progress progress_;
  Limits limits_;
  Instant until_{};
  bool in_step_ = false;  // recordings begin with a whole step
  bool full_ = false;
  std::vector<Run> runs_;
};

/// The part of a batch's runs that covers rows [first_row, first_row + rows).
void cut_runs(Span<const Run> runs, std::size_t first_row, std::size_t rows, std::vector<Run>& out);

}  // namespace wdmoe::bsd::trace
