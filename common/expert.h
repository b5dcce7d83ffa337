#pragma once
// One expert's weights, as files store them and kernels take them.

#include "common/tensor.h"

namespace wdmoe {

/// One SwiGLU expert: y = down · (silu(gate · x) ∘ (up · x)).  Mixtral's w1, w3, w2.
struct ExpertWeights {
  Tensor gate;  ///< [ffn, hidden]
  Tensor up;    ///< [ffn, hidden]
  Tensor down;  ///< [hidden, ffn]
};

}  // namespace wdmoe
