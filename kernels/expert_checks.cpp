#include "kernels/expert_checks.h"

#include <string>

namespace wdmoe::kernels {
namespace {

std::string shape_of(std::size_t rows, std::size_t cols) {
  return "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}

}  // namespace

Result<void> check_expert(const ExpertWeights& weights, std::size_t hidden) {
  const Tensor &gate = weights.gate, &up = weights.up, &down = weights.down;
  if (gate.rows == 0 || gate.cols == 0 || gate.rows > kMaxExpertExtent ||
      gate.cols > kMaxExpertExtent)
    return fail(Code::bad_input, "expert gate is " + shape_of(gate.rows, gate.cols) +
                                     ": expected extents from 1 to " +
                                     std::to_string(kMaxExpertExtent));
  if (up.rows != gate.rows || up.cols != gate.cols)
    return fail(Code::bad_input, "expert up is " + shape_of(up.rows, up.cols) +
                                     ": expected the shape of gate, " +
                                     shape_of(gate.rows, gate.cols));
  if (down.rows != gate.cols || down.cols != gate.rows)
    return fail(Code::bad_input, "expert down is " + shape_of(down.rows, down.cols) +
                                     ": expected gate's shape transposed, " +
                                     shape_of(gate.cols, gate.rows));
  if (hidden != 0 && gate.cols != hidden)
    return fail(Code::bad_input, "expert has hidden size " + std::to_string(gate.cols) +
                                     ": expected " + std::to_string(hidden) +
                                     " as the experts loaded before");
  if (gate.data == nullptr || up.data == nullptr || down.data == nullptr)
    return fail(Code::bad_input, "expert without weights: expected gate, up and down in memory");
  return {};
}

Result<void> check_work(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                        std::size_t experts, std::size_t hidden) {
  if (in.rows != out.rows || in.cols != out.cols)
    return fail(Code::bad_input, "expert output is " + shape_of(out.rows, out.cols) +
                                     ": expected the shape of the input, " +
                                     shape_of(in.rows, in.cols));
  if (hidden != 0 && in.cols != hidden)
    return fail(Code::bad_input, "expert input has " + std::to_string(in.cols) +
                                     " columns: expected hidden size " + std::to_string(hidden));
  for (const ExpertWork& item : work) {
    if (item.expert >= experts)
      return fail(Code::bad_input, "expert handle " + std::to_string(item.expert) +
                                       ": expected less than the " + std::to_string(experts) +
                                       " loaded");
    for (const RowWeight& row : item.rows)
      if (row.row >= in.rows)
        return fail(Code::bad_input, "expert input row " + std::to_string(row.row) +
                                         ": expected less than " + std::to_string(in.rows));
  }
  return {};
}

}  // namespace wdmoe::kernels
