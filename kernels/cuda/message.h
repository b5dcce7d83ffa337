#pragma once
// What goes up to the device with one message, in one block of memory: tables, then the rows.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cuda/resident.h"
#include "kernels/expert_backend.h"

namespace wdmoe::cuda {

/// Byte offsets of the parts of a message of `rows` rows and `assignments`.
struct UploadLayout {
  std::size_t assigned;  ///< Assigned [assignments]
  std::size_t first;     ///< u32 [rows + 1]
  std::size_t order;     ///< u32 [assignments]
  std::size_t in;        ///< [rows, hidden], 16-byte aligned
  std::size_t bytes;     ///< of all

  UploadLayout(std::size_t rows, std::size_t assignments, std::size_t in_bytes);
};

/// Writes the message; does not allocate.  `work` and `in` were checked before.
void write_upload(std::byte* to, const UploadLayout& layout, Span<const kernels::ExpertWork> work,
                  const Tensor& in, const std::vector<Resident>& experts);

}  // namespace wdmoe::cuda
