#pragma once
// A Hugging Face directory (or a shard made by `wdmoe split`) as named tensors in mapped memory:
// config.json, model.safetensors or model.safetensors.index.json with its parts.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/span.h"
#include "common/tensor.h"
#include "weights/file.h"

namespace wdmoe::weights {

/// One tensor as its file declares it.  `data` is mapped, read-only, possibly unaligned.
struct NamedTensor {
  std::string name;
  std::string dtype;  ///< as written: "F32", "F16", "BF16", "I64" …
  std::vector<std::uint64_t> shape;
  Bytes data;
};

/// Mapped files stay mapped while any copy of the Checkpoint lives.  Values, cheap to copy.
class Checkpoint {
 public:
  /// Opens a directory or one .safetensors file.  Checks headers, offsets and sizes of every file
  /// before anything is used.  Errors name the file (and tensor).
  static Result<Checkpoint> open(const std::filesystem::path& path, Access access = Access::mapped);

  const NamedTensor* find(const std::string& name) const;  ///< nullptr when absent
  const std::map<std::string, NamedTensor>& tensors() const;
  const std::map<std::string, std::string>& metadata()
      const;                                         ///< __metadata__ of all files, merged
  const std::filesystem::path& path() const;         ///< as given to open()
  std::filesystem::path directory() const;           ///< where config.json and its like lie
  std::vector<std::filesystem::path> files() const;  ///< the safetensors files, by name
  /// Bytes of a file of files(), as they lie in memory (for digests); empty for any other path.
  Bytes file_bytes(const std::filesystem::path& file) const;

  /// Lets go of the pages of mapped `data`, a tensor of this checkpoint, once it is copied
  /// elsewhere.
  void forget(Bytes data) const;

  /// A 2-D (or 1-D, as one row) tensor of that exact shape in f32/f16/bf16.
  Result<Tensor> matrix(const std::string& name, std::size_t rows, std::size_t cols) const;

 private:
  struct Contents;
  std::shared_ptr<const Contents> contents_;
};

}  // namespace wdmoe::weights
