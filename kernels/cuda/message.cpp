#include "kernels/cuda/message.h"

#include <algorithm>
#include <cstring>

namespace wdmoe::cuda {
namespace {

constexpr std::size_t kAlignment = 16;

constexpr std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

UploadLayout::UploadLayout(std::size_t rows, std::size_t assignments, std::size_t in_bytes)
    : assigned(0),
      first(aligned(assignments * sizeof(Assigned))),
      order(first + aligned((rows + 1) * sizeof(std::uint32_t))),
      in(order + aligned(assignments * sizeof(std::uint32_t))),
      bytes(in + aligned(in_bytes)) {}

void write_upload(std::byte* to, const UploadLayout& layout, Span<const kernels::ExpertWork> work,
                  const Tensor& in, const std::vector<Resident>& experts) {
  auto* assigned = reinterpret_cast<Assigned*>(to + layout.assigned);
  auto* first = reinterpret_cast<std::uint32_t*>(to + layout.first);
  auto* order = reinterpret_cast<std::uint32_t*>(to + layout.order);
  std::fill_n(first, in.rows + 1, 0u);
  std::uint32_t count = 0;
  for (const kernels::ExpertWork& item : work) {
    const Resident& expert = experts[item.expert];
    for (const kernels::RowWeight& row : item.rows) {
      assigned[count++] = {
          expert.gate_up.as<Half>(), expert.down.as<Half>(), row.row, expert.ffn, row.weight, 0};
      ++first[row.row + 1];
    }
  }
  // A counting sort by row that keeps the order of work, so that sums have the same bits each time.
  for (std::size_t row = 0; row < in.rows; ++row) first[row + 1] += first[row];
  for (std::uint32_t a = 0; a < count; ++a) order[first[assigned[a].row]++] = a;
  for (std::size_t row = in.rows; row > 0; --row) first[row] = first[row - 1];
  first[0] = 0;
  std::memcpy(to + layout.in, in.data, in.size_bytes());
}

}  // namespace wdmoe::cuda
