#pragma once
// A bar on the terminal while something long is written; silent when stderr is not a terminal.

#include <chrono>
#include <cstdint>
#include <string>

namespace wdmoe::cli {

class ProgressBar {
 public:
  /// `unit`: what is counted, e.g. "runs"; empty: bytes.
  explicit ProgressBar(std::string what, std::string unit = "");
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar();  ///< wipes the line

  void update(std::uint64_t done, std::uint64_t total);

 private:
  std::string what_, unit_;
  bool on_terminal_;
  std::chrono::steady_clock::time_point start_;
  int drawn_percent_ = -1;
};

/// "1.46 GiB", "12 bytes": what a person reads.
std::string human_bytes(std::uint64_t bytes);

}  // namespace wdmoe::cli
