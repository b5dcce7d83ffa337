#include "cli/progress.h"

#include <cstdio>
#include <iterator>

#include <fmt/format.h>
#include <unistd.h>

namespace wdmoe::cli {
namespace {

constexpr int kWidth = 30;

}  // namespace

ProgressBar::ProgressBar(std::string what, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      on_terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() {
  if (drawn_percent_ >= 0) std::fputs("\r\x1b[K", stderr);
}

void ProgressBar::update(std::uint64_t done, std::uint64_t total) {
  if (!on_terminal_ || total == 0) return;
  const double part = static_cast<double>(done) / static_cast<double>(total);
  const int percent = static_cast<int>(100 * part);
  if (percent == drawn_percent_) return;  // at most 101 drawings
  drawn_percent_ = percent;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  const int filled = static_cast<int>(kWidth * part);
  const double rate = static_cast<double>(done) / (elapsed.count() + 1e-3);
  const std::string amount = unit_.empty()
                                 ? fmt::format("{}  {}/s", human_bytes(total),
                                               human_bytes(static_cast<std::uint64_t>(rate)))
                                 : fmt::format("{} of {} {}  {:.1f}/s", done, total, unit_, rate);
  std::fputs(fmt::format("\r{} [{}{}] {:3}%  {}\x1b[K", what_, std::string(filled, '#'),
                         std::string(kWidth - filled, '.'), percent, amount)
                 .c_str(),
             stderr);
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

}  // namespace wdmoe::cli
