#pragma once
// One line per event: `event key=value …`, to stderr.  Libraries stay silent and return errors; the
// daemon layer logs once, where it decides.  Never prompts or weights above debug.
// Under systemd each line begins with its priority (<3> error …) and carries no time; elsewhere it
// carries local time, coloured on terminals.  Every function is callable from any thread.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/clock.h"
#include "common/config.h"

namespace wdmoe::log {

enum class Level { trace, debug, info, warn, error, critical };

struct Config {
  std::string level = "info";

  template <class Visitor>
  void visit(Visitor&& v) {
    v("log.level", level, one_of({"trace", "debug", "info", "warn", "error", "critical"}),
      "least important line that is written");
  }
};

/// Sets the level; before it, info and above are written.
void start(const Config& config);

/// Whether lines of this level are written: for lines that are costly to make.
bool enabled(Level level);

/// One key=value; texts with blanks or quotes are quoted.
struct Field {
  std::string_view key;
  std::string value;

  Field(std::string_view key_in, std::string_view text);
  Field(std::string_view key_in, const char* text) : Field(key_in, std::string_view(text)) {}
  Field(std::string_view key_in, const std::string& text) : Field(key_in, std::string_view(text)) {}
  Field(std::string_view key_in, double number);
  Field(std::string_view key_in, bool flag) : key(key_in), value(flag ? "true" : "false") {}
  template <class T, class = std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>>
  Field(std::string_view key_in, T number) : key(key_in), value(std::to_string(number)) {}
};
using Fields = std::initializer_list<Field>;

/// "event key=value key=value": the text of a line, without time and level.
std::string format(std::string_view event, Fields fields);

void write(Level level, std::string_view event, Fields fields = {});

inline void debug(std::string_view event, Fields f = {}) {
  write(Level::debug, event, f);
}
inline void info(std::string_view event, Fields f = {}) {
  write(Level::info, event, f);
}
inline void warn(std::string_view event, Fields f = {}) {
  write(Level::warn, event, f);
}
inline void error(std::string_view event, Fields f = {}) {
  write(Level::error, event, f);
}
inline void critical(std::string_view event, Fields f = {}) {
  write(Level::critical, event, f);
}

/// For events that may repeat without end: at most one line per interval.  One per event and
/// thread.
class RateLimit {
 public:
  explicit RateLimit(milliseconds interval) : interval_(interval) {}

  /// True if a line may be written now; `skipped` is then how many were not since the last one.
  bool allow(Instant now, std::uint64_t& skipped);

 private:
  milliseconds interval_;
  Instant next_{};
  std::uint64_t skipped_ = 0;
};

/// Writes unless `limit` says to skip; adds skipped=N when lines were left out.
void write_limited(RateLimit& limit, Level level, std::string_view event, Fields fields = {});

}  // namespace wdmoe::log
