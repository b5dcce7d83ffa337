#pragma once
// Every decision with its reason, as CSV: one line for each tick and agent.

#include <filesystem>
#include <fstream>
#include <string>

#include "bsd/shaping/controller.h"

namespace wdmoe::shaping {

/// Column names and a line end.
std::string csv_header();

/// One line for each agent of a tick (a single one, without agent, if there is none) added to
/// `text`; shares are those in force after it.
void append_csv(std::string& text, const Decision& decision, const Plan& plan,
                Span<const AgentInput> agents);

/// A file of them, on the io thread.
class DecisionLog {
 public:
  static constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;  ///< a day of 8 agents or so

  /// Overwrites `path`.  io: names it.
  static Result<DecisionLog> open(const std::filesystem::path& path);
  /// False, once: the disk refused or the file is full, and nothing more will be written.
  bool write(const Decision& decision, const Plan& plan, Span<const AgentInput> agents);

 private:
  explicit DecisionLog(std::ofstream file) : file_(std::move(file)) {}
  std::ofstream file_;
  std::string text_;
  std::uint64_t bytes_ = 0;
  double flushed_s_ = 0;
};

}  // namespace wdmoe::shaping
