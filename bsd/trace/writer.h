#pragma once
// Writes a trace file.  Records gather in a chunk of some 64 KiB, which is written as one frame, so
// a recording that is killed loses at most its last chunk; what there is stays in FILE.XXXXXX.

#include <cstdint>
#include <filesystem>
#include <memory>

#include "bsd/trace/record.h"
#include "common/result.h"

namespace wdmoe::bsd::trace {

class Writer {
 public:
  /// `most_bytes`: the file never becomes larger.  Errors (denied if the file exists, limit for a
  /// model beyond record.h's bounds, io) name the path.
  static Result<std::unique_ptr<Writer>> create(const std::filesystem::path& path,
                                                const Header& header, std::uint64_t most_bytes);
  ~Writer();  ///< without finish(): nothing is left

  /// Errors: limit, once the file is full (what it holds can be finished); io.
  /// The record must fit the header: it is ours.
  Result<void> append(const Record& record);
  std::uint64_t bytes() const;    ///< written and gathered so far; after finish(): of the file
  std::uint64_t records() const;  ///< appended
  /// Writes the rest, flushes to disk and gives the file its name.  Call once, last.
  Result<void> finish();

 private:
  struct Parts;
  explicit Writer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace wdmoe::bsd::trace
