#pragma once
// What the tests of Decoder compare: rows of logits.

#include <algorithm>
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "common/tensor.h"

namespace wdmoe::bsd {

inline std::vector<float> rows_of(Matrix<const float> m) {
  return {m.data, m.data + m.rows * m.cols};
}

inline double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

// Logits here are of order 1 and each is a sum of some hundred f32 products: batching may move them
// by reordering those sums, a few epsilon (1.2e-7) times sqrt(layers · terms).
constexpr double kRounding = 2e-5;

}  // namespace wdmoe::bsd
