#pragma once
// Typed, bounded reading of one JSON object's keys, each error naming file and key.  The first
// error is kept and later reads do nothing, so that a reader of many keys stays a list.

#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/result.h"

namespace wdmoe::bsd {

class ConfigReader {
 public:
  ConfigReader(std::string file, const nlohmann::json& object)
      : file_(std::move(file)), object_(object) {}

  /// The value, or nullptr when the key is absent or null.
  const nlohmann::json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  /// An integer in [low, high].  Absent: an error when `required`, else `out` keeps its value.
  void integer(const char* key, std::size_t low, std::size_t high, bool required,
               std::size_t& out) {
    const nlohmann::json* value = present(key, required);
    if (value == nullptr) return;
    if (!value->is_number_unsigned() || value->get<std::size_t>() < low ||
        value->get<std::size_t>() > high) {
      return refuse(Code::bad_input, key, *value,
                    "an integer from " + std::to_string(low) + " to " + std::to_string(high));
    }
    out = value->get<std::size_t>();
  }

  /// A finite number in [low, high]; absent: `out` keeps its value.
  void number(const char* key, double low, double high, double& out) {
    const nlohmann::json* value = present(key, false);
    if (value == nullptr) return;
    if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high)) {
      return refuse(
          Code::bad_input, key, *value,
          "a number from " + nlohmann::json(low).dump() + " to " + nlohmann::json(high).dump());
    }
    out = value->get<double>();
  }

  void boolean(const char* key, bool& out) {
    const nlohmann::json* value = present(key, false);
    if (value == nullptr) return;
    if (!value->is_boolean()) return refuse(Code::bad_input, key, *value, "true or false");
    out = value->get<bool>();
  }

  /// The only value this build implements; anything else is unsupported.  Absent is fine.
  void only(const char* key, const nlohmann::json& implemented) {
    const nlohmann::json* value = present(key, false);
    if (value != nullptr && *value != implemented)
      refuse(Code::unsupported, key, *value,
             implemented.dump() + ", all that this build implements");
  }

  void fail_with(Code code, std::string text) {
    if (!failed_) error_ = Error{code, file_ + ": " + std::move(text)};
    failed_ = true;
  }
  bool failed() const { return failed_; }
  const Error& error() const { return error_; }

 private:
  const nlohmann::json* present(const char* key, bool required) {
    if (failed_) return nullptr;
    const nlohmann::json* value = find(key);
    if (value == nullptr && required)
      fail_with(Code::bad_input, std::string("key '") + key +
                                     "' is missing; expected a Hugging Face Mixtral configuration");
    return value;
  }

  void refuse(Code code, const char* key, const nlohmann::json& value,
              const std::string& expected) {
    constexpr std::size_t kShown = 60;  // an error is one line
    std::string shown = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    if (shown.size() > kShown) shown = shown.substr(0, kShown) + "...";
    fail_with(code, std::string("key '") + key + "' is " + shown + "; expected " + expected);
  }

  std::string file_;
  const nlohmann::json& object_;
  bool failed_ = false;
  Error error_;
};

}  // namespace wdmoe::bsd
