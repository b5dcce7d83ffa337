#pragma once
// Keys that clients of the HTTP API show (`Authorization: Bearer KEY`), hashed at rest: a text file
// with one line `NAME sha256:HEX` for each key; lines that begin with '#' and empty ones do not
// count.  A key is 256 random bits, so a plain hash is enough: there is nothing to guess, and a
// slow hash would only let strangers keep the base station busy.

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace wdmoe::bsd {

constexpr std::size_t kMostApiKeys = 1024;

class ApiKeys {
 public:
  /// `file` is for messages only.  Errors: bad_input naming the line, limit.
  static Result<ApiKeys> parse(std::string_view text, std::string_view file);

  /// Whether `key` is one of them.  Takes equally long whichever it is, or none.
  bool allow(std::string_view key) const;
  bool knows(std::string_view name) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string name;
    std::array<char, 64> digest;  // SHA-256, in hexadecimal
  };
  std::vector<Entry> entries_;
};

/// Makes a key, appends its hash to `file` (made if absent) and returns the key: the only time that
/// it can be seen.  Errors: bad_input (the name, the file), denied (the name is taken), io.
Result<std::string> add_api_key(const std::filesystem::path& file, const std::string& name);

/// The keys of a file that may change: a key that is added or removed counts within a second.
/// A file that can no longer be read, or is wrong, lets nobody in until it is good again.
class ApiKeyFile {
 public:
  /// Errors: as ApiKeys::parse(), not_found, io, denied (others may write the file).
  static Result<ApiKeyFile> open(std::filesystem::path file);

  bool allow(std::string_view key);  ///< looks at the file first, if the last look is a while ago

 private:
  struct Version {  // of the file, as stat() tells it
    std::uint64_t inode = 0;
    std::int64_t size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Version&) const = default;
  };
  explicit ApiKeyFile(std::filesystem::path file) : file_(std::move(file)) {}
  Result<void> read();
  static std::optional<Version> version_of(const std::filesystem::path& file);

  std::filesystem::path file_;
  ApiKeys keys_;
  std::optional<Version> version_;
  std::chrono::steady_clock::time_point looked_;
};

}  // namespace wdmoe::bsd
