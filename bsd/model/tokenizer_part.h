#pragma once
// One object inside tokenizer.json, read strictly: a field of the wrong type, a missing one or one
// that nobody asked for is an error that names its path.  Loading happens at start-up, so the
// readers throw LoadError; Tokenizer::load turns it into a Result and nothing escapes.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "common/result.h"

namespace wdmoe::bsd::text {

struct LoadError : std::runtime_error {
  LoadError(Code code_, const std::string& text) : std::runtime_error(text), code(code_) {}
  Code code;
};

class Part {
 public:
  /// `path` names the object in messages, such as "pre_tokenizer.pretokenizers[1]".
  Part(const nlohmann::json& value, std::string path);

  const std::string& path() const { return path_; }
  /// The raw value of a field, or null when absent or null.
  const nlohmann::json* find(std::string_view key) const;

  std::string string(std::string_view key) const;
  std::string string_or(std::string_view key, std::string_view otherwise) const;
  bool boolean(std::string_view key, bool otherwise) const;
  std::uint64_t number(std::string_view key, std::uint64_t most) const;
  char32_t character(std::string_view key) const;  // a string of exactly one character
  const nlohmann::json& array(std::string_view key) const;
  const nlohmann::json& object(std::string_view key) const;
  Part part(std::string_view key) const;
  Part part(std::string_view key, std::size_t index, const nlohmann::json& element) const;

  /// Fails on any non-null field that is not listed.
  void only(std::initializer_list<std::string_view> known) const;
  /// Fails: `key` holds `found`, which this build does not do; `can` says what it does.
  [[noreturn]] void unsupported(std::string_view key, std::string_view found,
                                std::string_view can) const;
  [[noreturn]] void bad(std::string_view key, std::string_view expected) const;

 private:
  const nlohmann::json& value_;
  std::string path_;
};

}  // namespace wdmoe::bsd::text
