#pragma once
// The recording of a field trial: JSON, one object a line, written by `wdmoe field record`.
//
//     {"record":"header","format":"wdmoe-field-1","software":…,"station":…,"started":…,
//      "labels":[…],"config":…|null,"policy":{…},"agents":{…}}
//     {"record":"sample","t":0.5,"status":{…},"metrics":{"name{labels}":value,…}}
//     {"record":"note","t":12.3,"text":"walked behind the wall"}
//     {"record":"end","t":60.0,"reason":"time"}
//
// t: seconds since the start.  status: GET /wdmoe/v1/status; metrics: /metrics without histograms'
// buckets.  A last line that is cut (power lost) does not spoil the rest.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace wdmoe::cli {

constexpr const char* kFieldFormat = "wdmoe-field-1";
constexpr std::uint64_t kMostFieldBytes = std::uint64_t{512} << 20;  // ten hours at two a second

/// Values by "name{labels}", of Prometheus' text format; without comments and buckets.
std::map<std::string, double> metrics_of(std::string_view text);

/// One agent at one moment; NaN where nothing is known.
struct FieldAgent {
  std::string name;
  bool up = false;
  double down_bps = 0, up_bps = 0, rtt_s = 0, queueing_s = 0, share_down_bps = 0, share_up_bps = 0;
  double bytes_sent = 0, bytes_received = 0, rows = 0, failures = 0;  ///< since the daemon started
};

struct FieldPoint {
  double t = 0;
  std::string policy, radio_state;
  double tokens = 0, plan = 0;
  std::vector<FieldAgent> agents;
  std::map<std::string, double> metrics;
};

struct FieldRun {
  std::string file, software, station, started, end_reason;
  std::vector<std::string> labels;
  std::string config;  ///< empty: none was given
  std::vector<FieldPoint> points;
  std::vector<std::pair<double, std::string>> notes;
};

/// Errors name file and line: not_found, limit, bad_input (no recording, or fewer than two
/// samples).
Result<FieldRun> read_field(const std::filesystem::path& file);

}  // namespace wdmoe::cli
