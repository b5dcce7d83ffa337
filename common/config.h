#pragma once
// Settings, declared once.  A Config struct names each setting in one visit(); from it come the
// command-line flags, the TOML reader (unknown key = error), the checks, --print-config and the
// samples in systemd/:
//
//   struct Config {
//     milliseconds deadline{50};
//     template <class Visitor>
//     void visit(Visitor&& v) {
//       v("deadline_ms", deadline, between(1, 10'000), "give up on an expert after this long");
//     }
//   };
//
// A key "log.level" is `level` in TOML's [log] and --log-level as a flag.  Flags win over the file.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "common/result.h"
#include "common/span.h"

namespace wdmoe {

/// What a setting may hold.
struct Check {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;  ///< of a text; empty: any
  bool not_empty = false;            ///< of a text or a list
};                                   // min and max bound every number of a list, too

Check between(double min, double max);  ///< inclusive, in the unit of the key's name
Check one_of(std::vector<std::string> choices);
Check not_empty();
Check anything();

using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>,
                           std::vector<double>>;

/// One setting, with its field's type erased.
struct Setting {
  std::string key;
  std::string help;
  Check check;
  std::function<Value()> get;
  std::function<bool(const Value&)> set;  ///< false: the field's type cannot hold the value
};

namespace detail {

template <class T>
struct IsDuration : std::false_type {};
template <class Rep, class Period>
struct IsDuration<std::chrono::duration<Rep, Period>> : std::true_type {};

template <class T>
Value value_of(const T& field) {
  if constexpr (std::is_same_v<T, bool>)  // NOLINT(bugprone-branch-clone): branches differ in type
    return field;
  else if constexpr (std::is_integral_v<T>)
    return static_cast<std::int64_t>(field);
  else if constexpr (std::is_floating_point_v<T>)
    return static_cast<double>(field);
  else if constexpr (IsDuration<T>::value)
    return static_cast<std::int64_t>(field.count());
  else if constexpr (std::is_same_v<T, std::filesystem::path>)
    return field.string();
  else
    return field;
}

template <class T>
bool set_integer(const Value& value, T& field) {
  const auto* number = std::get_if<std::int64_t>(&value);
  if (number == nullptr) return false;
  if constexpr (std::is_unsigned_v<T>) {
    if (*number < 0 || static_cast<std::uint64_t>(*number) > std::numeric_limits<T>::max())
      return false;
  } else {
    if (*number < std::numeric_limits<T>::min() || *number > std::numeric_limits<T>::max())
      return false;
  }
  field = static_cast<T>(*number);
  return true;
}

template <class T>
bool set_field(const Value& value, T& field) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    return set_integer(value, field);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (const auto* whole = std::get_if<std::int64_t>(&value))
      field = static_cast<T>(*whole);
    else if (const auto* real = std::get_if<double>(&value))
      field = static_cast<T>(*real);
    else
      return false;
    return true;
  } else if constexpr (IsDuration<T>::value) {
    typename T::rep count{};
    if (!set_integer(value, count)) return false;
    field = T(count);
    return true;
  } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
    const auto* text = std::get_if<std::string>(&value);
    if (text != nullptr) field = *text;
    return text != nullptr;
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    const auto* texts = std::get_if<std::vector<std::string>>(&value);
    if (texts != nullptr && texts->empty()) return field.clear(), true;  // []: no kind of its own
    const auto* numbers = std::get_if<std::vector<double>>(&value);
    if (numbers != nullptr) field = *numbers;
    return numbers != nullptr;
  } else {
    const auto* same = std::get_if<T>(&value);
    if (same != nullptr) field = *same;
    return same != nullptr;
  }
}

}  // namespace detail

/// The settings of `config`, in order of declaration; they refer to its fields.
/// Fields: bool, integers, floating point, std::chrono durations (whole numbers of their unit),
/// std::string, std::filesystem::path, std::vector<std::string>, std::vector<double> (files only).
template <class Config>
std::vector<Setting> settings_of(Config& config) {
  std::vector<Setting> settings;
  config.visit([&](std::string_view key, auto& field, Check check, std::string_view help) {
    auto* const place = &field;
    settings.push_back({std::string(key), std::string(help), std::move(check),
                        [place] { return detail::value_of(*place); },
                        [place](const Value& value) { return detail::set_field(value, *place); }});
  });
  return settings;
}

/// An array of tables, [[key]] in TOML: one entry per table.
struct SettingList {
  std::string key;
  std::size_t most;  ///< entries
  /// Appends an entry and returns its settings, keys relative to the table; they are used before
  /// the next call only.
  std::function<std::vector<Setting>()> add;
};

/// Reads TOML into the settings.  `file` is for messages only.  Errors name file, line, key and
/// what was expected; an unknown key is an error.
Result<void> read_toml(std::string_view text, std::string_view file, Span<const Setting> settings,
                       Span<const SettingList> lists = {});

/// Sets one setting as a file would.  Errors name `where` and what was expected.
Result<void> assign(const Setting& setting, const Value& value, const std::string& where);

/// All of a hand-written file (at most 1 MiB).
Result<std::string> read_config_file(const std::string& path);

/// The settings as a commented TOML document that read_toml() takes back unchanged.
std::string print_toml(Span<const Setting> settings);

/// Who is being configured, for --help, --version and messages.
struct Program {
  std::string name;          ///< "wdmoe-agent"
  std::string summary;       ///< one or two lines
  std::string default_file;  ///< read when it exists and --config is absent; may be empty
};

/// The user's fault: bad flag, file or value.  run_daemon() turns it into one line and exit code 2.
struct ConfigError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// --help, --version, --print-config (and --check) did what was asked: print `text` and leave with
/// 0.
struct EarlyExit {
  std::string text;
};

/// Applies file and flags to the settings.  True if --check was given.
/// Throws ConfigError and EarlyExit.
bool load_settings(int argc, const char* const* argv, const Program& program,
                   Span<const Setting> settings);

/// As load_settings(), for a whole Config.  `check_only`: --check was given; the program then
/// checks what it can (files, keys) and ends.
template <class Config>
Config load_config(int argc, const char* const* argv, const Program& program, bool& check_only) {
  Config config;
  const std::vector<Setting> settings = settings_of(config);
  check_only = load_settings(argc, argv, program, settings);
  return config;
}

}  // namespace wdmoe
