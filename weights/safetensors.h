#pragma once
// The safetensors format: u64 little-endian header size, a JSON header, then the tensors' bytes.
// Reading is a pure function over bytes; nothing is believed before it is checked.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/span.h"
#include "common/tensor.h"

namespace wdmoe::weights {

constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // the format's own limit

/// One tensor as a header declares it.
struct TensorEntry {
  std::string name;
  std::string dtype;                 ///< as written: "F32", "F16", "BF16", "I64" …
  std::vector<std::uint64_t> shape;  ///< empty: one element
  std::uint64_t begin = 0, end = 0;  ///< bytes, from the start of the file
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
};

/// Reads the header of a file of `file_bytes` bytes; `head` holds its first bytes, the whole file
/// or at least the 8 + header size.  Checked: header size, JSON, known dtypes, begin/end against
/// shape (without overflow), no gap or overlap, exact file size, no name twice.  Errors name the
/// tensor.
Result<SafetensorsHeader> parse_safetensors(Bytes head, std::uint64_t file_bytes);

/// 8 + JSON header for tensors laid out one behind the other, padded so that data starts at a
/// multiple of 64; begin/end of the entries are ignored.  bad_input: unknown dtype, name twice.
Result<std::string> safetensors_header(const std::vector<TensorEntry>& tensors,
                                       const std::map<std::string, std::string>& metadata);

/// Bytes of a tensor; nullopt for an unknown dtype, an overflow, or bits that fill no whole byte.
std::optional<std::uint64_t> tensor_bytes(std::string_view dtype,
                                          const std::vector<std::uint64_t>& shape);

/// Number of elements; nullopt on overflow.
std::optional<std::uint64_t> element_count(const std::vector<std::uint64_t>& shape);

std::string shape_text(const std::vector<std::uint64_t>& shape);  ///< "[8, 1792, 512]"

/// "F32" -> f32 and so on; nullopt for the many that are no weights of ours.
std::optional<DType> weight_dtype(std::string_view safetensors_name);
std::string_view safetensors_name(DType dtype);

}  // namespace wdmoe::weights
