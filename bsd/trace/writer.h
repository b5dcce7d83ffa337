#pragma once
// Writes a trace file of whole steps.  Records gather in a chunk of some 64 KiB, which is written
// as one frame, so a recording that is killed loses at most its last chunk; what there is stays in
// FILE.XXXXXX until somebody removes it.

#include <cstdint>
#include <filesystem>
#include <memory>

#include "bsd/trace/record.h"
#include "common/result.h"

namespace wdmoe::bsd::trace {

class Writer {
 public:
  /// `most_bytes`: the file never becomes larger, and the disk must have room for it now.  Errors
  /// (denied if the file exists, limit for no room or a model beyond record.h's bounds, io) name
  /// the path.
  static Result<std::unique_ptr<Writer>> create(const std::filesystem::path& path,
                                                const Header& header, std::uint64_t most_bytes);
  ~Writer();  ///< without finish(): nothing is left

  /// A record of the step under way, which must fit the header: it is ours.  Errors: limit, when
  /// the file would become too large (what it holds can be finished).
  Result<void> append(const Record& record);
  /// The step is whole: it will be in the file.  Errors: io; nothing can be added after that.
  Result<void> end_step();
  /// The step failed: what was appended of it is forgotten.
  void drop_step();
  std::uint64_t bytes() const;    ///< of whole steps, written or not; after finish(): of the file
  std::uint64_t records() const;  ///< of whole steps, less those that could not be written
  /// Writes the rest, flushes to disk and gives the file its name.  Call once, last.  On an io
  /// error what was written before it is kept under that name, if the disk still allows that.
  Result<void> finish();

 private:
  struct Parts;
  explicit Writer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace wdmoe::bsd::trace
