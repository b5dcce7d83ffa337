#pragma once
// The emulator at work: packets from TUN devices through the Air to TUN devices, in real time, on
// one thread.

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "common/fd.h"
#include "sim/airlink/air.h"
#include "sim/airlink/channel.h"
#include "sim/airlink/scenario.h"

namespace wdmoe::airlink {

/// What was carried, for reports.
struct Record {
  static constexpr Nanoseconds kInterval{100'000'000};
  static constexpr std::size_t kMostIntervals = 36'000;  // an hour; what comes later is not kept

  /// Of one flow, at each interval's end.
  struct Series {
    std::vector<float> rate_mbit;      ///< what its link carries
    std::vector<std::uint32_t> bytes;  ///< delivered in the interval
  };
  std::vector<Series> flows;
  Nanoseconds start{0};  ///< steady_clock
  Nanoseconds duration{0};
  Nanoseconds scenario_start{0};  ///< since `start`; events and channel count from there
  std::uint64_t strangers = 0;    ///< packets that are not for this cell, dropped
  std::uint64_t refused = 0;      ///< arrivals that the kernel did not take
  Histogram lateness;             ///< of arrivals, behind the time at which they were due
};

/// The ends of the cell's links.
struct Ends {
  OwnedFd base_station;
  std::vector<OwnedFd> devices;
};

/// TUN devices in the scenario's namespaces.  Errors: those of open_tun().
Result<Ends> open_ends(const Scenario& scenario);

/// Arrivals on time beside busy programs (SCHED_FIFO), for the calling thread; children go back to
/// an ordinary priority.  False: not permitted.
bool become_real_time();

class Relay {
 public:
  Relay(const Scenario& scenario, Ends ends);

  /// Carries packets until `stop_fd` is readable, `wake` says so, or the time is over.  `wake` is
  /// looked at whenever `wake_fd` is readable (and must make it unreadable).
  struct Control {
    int stop_fd;
    int signal_fd;                    ///< of SIGUSR1 (start the scenario) and SIGCHLD
    bool wait_for_start = false;      ///< channel and events stand still until SIGUSR1
    std::optional<Nanoseconds> most;  ///< run no longer
    std::function<bool()> child_ended;
  };
  /// Errors: io.
  Result<void> run(const Control& control);

  const Air& air() const { return air_; }
  const Record& record() const { return record_; }

 private:
  Nanoseconds now() const;
  Nanoseconds next() const;
  Result<void> prepare(const Control& control);
  void carry_from(std::size_t end);
  std::optional<std::size_t> flow_of(std::size_t end, Span<const std::byte> packet) const;
  void move_channel(Nanoseconds now);
  void deliver();
  void note_intervals(Nanoseconds now);
  bool signalled(const Control& control);

  Channel channel_;
  Air air_;
  Ends ends_;
  std::uint32_t address_;  // of the base station, host byte order
  Record record_;
  std::vector<std::uint64_t> noted_bytes_;  // [flows]
  Nanoseconds next_note_ = Record::kInterval;
  bool waiting_ = false;
  OwnedFd poll_, timer_;
};

}  // namespace wdmoe::airlink
