#pragma once
// Reads a trace file, record by record, in bounded memory whatever the file says.

#include <filesystem>
#include <memory>

#include "bsd/trace/record.h"
#include "common/result.h"

namespace wdmoe::bsd::trace {

class Reader {
 public:
  /// Errors name the path: not_found, io, bad_input (no trace, or one of another version).
  static Result<std::unique_ptr<Reader>> open(const std::filesystem::path& path);
  ~Reader();

  const Header& header() const;
  /// The next record into `record`, whose views hold until the next call; false at the end.
  /// bad_input: the file contradicts itself; nothing after that can be read.
  Result<bool> next(Record& record);
  /// At the end: the file stops in the middle of a chunk, as a killed recording does.
  bool truncated() const;

 private:
  struct Parts;
  explicit Reader(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace wdmoe::bsd::trace
