#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include "kernels/matmul.h"
#include "kernels/ops.h"
#include "kernels/reference.h"
#include "tests/kernels/kernel_cases.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

namespace {

struct LinearCase {
  std::size_t rows, out, in;
  DType dtype;
  std::size_t offset;
};

/// Worst error of one product, in units of its bound.
///
/// A sum of n products in f32, in any order and with or without fused multiply-adds, is off by at
/// most n·eps·Σ|w·x| (Higham 2002, eq. 3.5, first order); + 2 for the reference's own rounding to
/// f32 and the addition of linear_add.  Where bf16 weights round x, each product is off by 2^-8
/// more.
double worst_of(ThreadPool& pool, const LinearCase& c, bool add) {
  std::mt19937 random(1);
  const OwnedTensor weight(c.out, c.in, c.dtype, c.offset, random);
  const std::vector<float> x = random_floats(c.rows * c.in, random);
  std::vector<float> y = random_floats(c.rows * c.out, random), expected = y;
  const std::vector<float> before = y;
  const Matrix<const float> xs{x.data(), c.rows, c.in};
  (add ? linear_add : linear)(pool, weight.view(), xs, {y.data(), c.rows, c.out});
  (add ? reference::linear_add : reference::linear)(weight.view(), xs,
                                                    {expected.data(), c.rows, c.out});
  const bool rounds = c.dtype == DType::bf16 && rounds_bf16_rows();
  WorstError worst;
  for (std::size_t row = 0; row < c.rows; ++row)
    for (std::size_t out = 0; out < c.out; ++out) {
      const std::size_t at = row * c.out + out;
      double magnitude = add ? std::fabs(static_cast<double>(before[at])) : 0;
      for (std::size_t in = 0; in < c.in; ++in)
        magnitude += std::fabs(static_cast<double>(reference::element(weight.view(), out, in)) *
                               static_cast<double>(xs.row(row)[in]));
      worst.see(
          static_cast<double>(y[at]), static_cast<double>(expected[at]),
          ((static_cast<double>(c.in) + 2) * kEpsilon + (rounds ? kBf16Epsilon : 0)) * magnitude);
    }
  return worst.ratio();
}

void sweep(ThreadPool& pool, const std::vector<LinearCase>& cases) {
  for_each_target([&](const char* target) {
    double worst = 0;
    for (const LinearCase& c : cases)
      for (const bool add : {false, true}) {
        const double ratio = worst_of(pool, c, add);
        worst = std::fmax(worst, ratio);
        if (!(ratio <= 1))
          FAIL_CHECK(target << ": " << name_of(c.dtype) << " rows " << c.rows << " out " << c.out
                            << " in " << c.in << " offset " << c.offset << " add " << add << ": "
                            << ratio << " of the bound");
      }
    MESSAGE(std::string(target) << ": worst error " << worst << " of the bound");
    CHECK(worst <= 1);
  });
}

}  // namespace

TEST_CASE("linear: equals the reference for every length, dtype, address and row count") {
  ThreadPool pool(1);
  std::vector<LinearCase> cases;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    for (const std::size_t in : {0u, 1u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 32u, 33u, 36u, 50u, 131u})
      for (const std::size_t rows : {1u, 2u, 3u, 4u, 5u, 8u, 13u})
        cases.push_back({rows, 1 + in * 7 % 37, in, dtype, (in + rows) % 4});
  sweep(pool, cases);
}

TEST_CASE("linear: equals the reference at real sizes and at the edges of its blocks") {
  ThreadPool pool(2);
  std::vector<LinearCase> cases;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (const std::size_t rows : {0u, 1u, 2u, 6u, 7u, 8u, 9u, 12u, 14u, 25u})
      cases.push_back({rows, 70, 300, dtype, 1});  // two slices of depth, three blocks of columns
    cases.push_back({1, 1, 1792, dtype, 3});
    cases.push_back({4, 33, 515, dtype, 2});
    cases.push_back({520, 18, 64, dtype, 1});  // more rows than one block
    cases.push_back({3, 0, 16, dtype, 0});     // nothing to compute
  }
  sweep(pool, cases);
}

TEST_CASE("linear: leaves what lies beside y's columns alone") {
  ThreadPool pool(1);
  std::mt19937 random(3);
  const OwnedTensor weight(5, 40, DType::f16, 1, random);
  for (const std::size_t rows : {1u, 20u}) {
    const std::vector<float> x = random_floats(rows * 40, random);
    std::vector<float> y(rows * 9, 7.0f);
    linear(pool, weight.view(), {x.data(), rows, 40}, {y.data(), rows, 5, 9});
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t col = 5; col < 9; ++col) CHECK(y[row * 9 + col] == 7.0f);
  }
}

TEST_CASE("linear: the number of threads does not change a bit of the result") {
  std::mt19937 random(5);
  const OwnedTensor weight(200, 300, DType::bf16, 1, random);
  for (const std::size_t rows : {1u, 40u}) {
    const std::vector<float> x = random_floats(rows * 300, random);
    std::vector<float> alone(rows * 200), shared(rows * 200);
    ThreadPool one(1), three(3);
    linear(one, weight.view(), {x.data(), rows, 300}, {alone.data(), rows, 200});
    linear(three, weight.view(), {x.data(), rows, 300}, {shared.data(), rows, 200});
    CHECK(alone == shared);
  }
}
