#pragma once
// Writes one safetensors file as a stream: sizes are known before, bytes come in pieces, the digest
// is taken on the way, and the file appears under its name only when it is whole and on disk.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/span.h"
#include "weights/file.h"
#include "weights/manifest.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace wdmoe::weights {

class SafetensorsWriter {
 public:
  /// Writes the header.  begin/end of the entries are ignored; tensors lie in the order given.
  static Result<SafetensorsWriter> create(const std::filesystem::path& path,
                                          const std::vector<TensorEntry>& tensors,
                                          const std::map<std::string, std::string>& metadata);

  /// The next bytes of the data, tensor after tensor, in pieces of any size.
  Result<void> append(Bytes bytes);

  /// Commits the file; every announced byte must have come (a broken invariant otherwise).
  Result<FileDigest> finish();

 private:
  SafetensorsWriter(AtomicFile file, std::string name, std::uint64_t announced)
      : file_(std::move(file)), name_(std::move(name)), missing_(announced) {}
  Result<void> write(Bytes bytes);

  AtomicFile file_;
  std::string name_;
  Sha256 digest_;
  std::uint64_t written_ = 0, missing_ = 0;
};

}  // namespace wdmoe::weights
