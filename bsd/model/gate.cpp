#include "bsd/model/gate.h"

#include <cmath>
#include <numeric>
#include <string>

#include "kernels/ops.h"

namespace wdmoe::bsd {

Result<Matrix<const float>> Gate::forward(std::size_t layer, Matrix<const float> x) {
  const Tensor& weight = weights_.layers[layer].gate;
  const Matrix<float> probabilities = probabilities_.matrix(x.rows, weight.rows);
  kernels::linear(pool_, weight, x, probabilities);
  kernels::softmax_rows(probabilities);
  for (std::size_t row = 0; row < x.rows; ++row) {
    const float* p = probabilities.row(row);
    if (!std::isfinite(std::accumulate(p, p + weight.rows, 0.0f)))
      return fail(Code::bad_input,
                  "layer " + std::to_string(layer) +
                      ": the gate's input is not finite; are the weights damaged, or do they "
                      "overflow their type?");
  }
  return Matrix<const float>(probabilities);
}

}  // namespace wdmoe::bsd
