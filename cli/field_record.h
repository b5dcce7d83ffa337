#pragma once
// `wdmoe field record`: a running base station, looked at again and again, into a file.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/base_station.h"
#include "common/result.h"

namespace wdmoe::cli {

struct FieldRecordOptions {
  BaseStation bsd;
  std::string out, config;
  std::vector<std::string> labels;
  std::chrono::milliseconds every{500};
  std::optional<unsigned> seconds;
  std::uint64_t most_mib = 256;
  bool force = false;
};

/// Until the time is over, the file is full, or SIGINT or SIGTERM comes; lines from stdin become
/// notes.  A base station that falls silent meanwhile is a note, too, and is asked again.
Result<int> record_field(const FieldRecordOptions& options);

}  // namespace wdmoe::cli
