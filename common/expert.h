#pragma once
// One expert: its place in the model, and its weights as files store them and kernels take them.

#include <cstddef>
#include <cstdint>

#include "common/tensor.h"

namespace wdmoe {

/// Where an expert stands in its model, in the 16 bits that a message has for each; ordered by
/// layer.
struct ExpertId {
  std::uint16_t layer = 0, expert = 0;
};
inline bool operator==(ExpertId a, ExpertId b) {
  return a.layer == b.layer && a.expert == b.expert;
}
inline bool operator<(ExpertId a, ExpertId b) {
  return a.layer != b.layer ? a.layer < b.layer : a.expert < b.expert;
}

/// For numbers that were checked against a model's size; both must be below 65536.
inline ExpertId expert_id(std::size_t layer, std::size_t expert) {
  return {static_cast<std::uint16_t>(layer), static_cast<std::uint16_t>(expert)};
}

/// One SwiGLU expert: y = down · (silu(gate · x) ∘ (up · x)).  Mixtral's w1, w3, w2.
struct ExpertWeights {
  Tensor gate;  ///< [ffn, hidden]
  Tensor up;    ///< [ffn, hidden]
  Tensor down;  ///< [hidden, ffn]
};

}  // namespace wdmoe
