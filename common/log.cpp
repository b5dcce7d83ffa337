#include "common/log.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace wdmoe::log {
namespace {

spdlog::level::level_enum spdlog_level(Level level) {
  return static_cast<spdlog::level::level_enum>(level);  // same order, trace = 0
}

/// The journal's priorities: sd-daemon(3).
const char* priority_prefix(Level level) {
  switch (level) {
    case Level::trace:
    case Level::debug:
      return "<7>";
    case Level::info:
      return "<6>";
    case Level::warn:
      return "<4>";
    case Level::error:
      return "<3>";
    case Level::critical:
      return "<2>";
  }
  return "";
}

/// systemd sets JOURNAL_STREAM for what it starts; a redirected stderr is still ours to prefix only
/// when it is no terminal.
bool under_journal() {
  return std::getenv("JOURNAL_STREAM") != nullptr && ::isatty(STDERR_FILENO) == 0;
}

struct Writer {
  bool journal = under_journal();
  spdlog::logger logger;

  Writer() : logger("wdmoe", sink()) {
    logger.set_pattern(journal ? "%v" : "%H:%M:%S.%e %^%-8l%$ %v");
    logger.set_level(spdlog::level::info);
    logger.flush_on(spdlog::level::trace);
    // A failing stderr (closed terminal, full disk) must not stop a daemon, nor fill it with
    // errors.
    logger.set_error_handler([](const std::string&) {});
  }

  static spdlog::sink_ptr sink() {
    if (::isatty(STDERR_FILENO) != 0)
      return std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>();
    return std::make_shared<spdlog::sinks::stderr_sink_mt>();
  }
};

/// The program's one log, like stderr itself: made at first use, never destroyed, so that lines
/// from destructors of statics still come out.
Writer& writer() {
  static Writer* const instance = new Writer;
  return *instance;
}

bool is_plain(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text)
    if (c <= ' ' || c == '"' || c == '=' || c == 0x7f) return false;
  return true;
}

/// Control characters must not forge lines or colours.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? ' ' : c;
  }
  return out + "\"";
}

}  // namespace

Field::Field(std::string_view key_in, std::string_view text)
    : key(key_in), value(is_plain(text) ? std::string(text) : quoted(text)) {}

Field::Field(std::string_view key_in, double number) : key(key_in) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.6g", number);
  value = buffer;
}

std::string format(std::string_view event, Fields fields) {
  std::string line(event);
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    line += field.value;
  }
  return line;
}

void start(const Config& config) {
  writer().logger.set_level(spdlog::level::from_str(config.level));
}

bool enabled(Level level) {
  return writer().logger.should_log(spdlog_level(level));
}

void write(Level level, std::string_view event, Fields fields) {
  if (!enabled(level)) return;
  const std::string line = format(event, fields);
  Writer& out = writer();
  out.logger.log(spdlog_level(level), "{}{}", out.journal ? priority_prefix(level) : "", line);
}

bool RateLimit::allow(Instant now, std::uint64_t& skipped) {
  if (now < next_) {
    ++skipped_;
    return false;
  }
  next_ = now + interval_;
  skipped = skipped_;
  skipped_ = 0;
  return true;
}

void write_limited(RateLimit& limit, Level level, std::string_view event, Fields fields) {
  if (!enabled(level)) return;
  std::uint64_t skipped = 0;
  if (!limit.allow(std::chrono::steady_clock::now(), skipped)) return;
  const std::string line = format(event, fields);
  if (skipped == 0)
    write(level, line);
  else
    write(level, line, {{"skipped", skipped}});
}

}  // namespace wdmoe::log
