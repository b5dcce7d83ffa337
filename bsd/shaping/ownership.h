#pragma once
// Who shapes an interface, and what was there before: records in the state directory, which outlive
// a killed daemon, and a claim that dies with its process.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace wdmoe::shaping {

/// What an actuator changed on an interface.
struct Record {
  std::string actuator;  ///< "tc" or "wifi"
  std::string interface;
  /// Settings as they were found, to be put back; their meaning is the actuator's.
  std::map<std::string, std::string> before;
};

/// The records of one state directory: files ACTUATOR-INTERFACE.json, written whole or not at all.
class Records {
 public:
  /// The directory need not exist before the first write.
  explicit Records(std::filesystem::path directory) : directory_(std::move(directory)) {}

  /// $STATE_DIRECTORY of a systemd unit, else the one that wdmoe-bsd's unit has.
  static std::filesystem::path default_directory();

  Result<void> write(const Record& record) const;
  /// Nothing if there is none; bad_input if the file is not a record.
  Result<std::optional<Record>> read(std::string_view actuator, std::string_view interface) const;
  /// Of one actuator.
  Result<std::vector<Record>> all(std::string_view actuator) const;
  Result<void> erase(std::string_view actuator, std::string_view interface) const;

 private:
  std::filesystem::path path_of(std::string_view actuator, std::string_view interface) const;

  std::filesystem::path directory_;
};

/// "This process shapes that interface": a name in the network namespace's abstract sockets, so
/// that it is as local as the interface is, and gone with its process however that ends.
class Claim {
 public:
  /// busy if another process holds it.
  static Result<Claim> take(std::string_view actuator, std::string_view interface);

 private:
  explicit Claim(OwnedFd socket) : socket_(std::move(socket)) {}
  OwnedFd socket_;
};

}  // namespace wdmoe::shaping
