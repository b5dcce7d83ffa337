#pragma once
// What the tests of all expert backends share: random experts, a routing, and the comparison with
// the reference backend.

#include <cmath>
#include <deque>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "kernels/expert_backend.h"
#include "kernels/reference.h"
#include "tests/kernels/kernel_cases.h"

namespace wdmoe::kernels {

/// Experts with weights about 1/sqrt(inputs), so that results stay near 1 whatever the shape.
class Experts {
 public:
  Experts(std::size_t count, std::size_t hidden, std::size_t ffn, DType dtype)
      : random_(41), hidden_(hidden) {
    for (std::size_t expert = 0; expert < count; ++expert)
      all_.push_back(
          {tensor(ffn, hidden, dtype), tensor(ffn, hidden, dtype), tensor(hidden, ffn, dtype)});
  }
  void load_into(ExpertBackend& backend) const {
    for (std::size_t expert = 0; expert < all_.size(); ++expert)
      CHECK(backend.load(all_[expert]).value() == expert);
  }
  const ExpertWeights& operator[](std::size_t expert) const { return all_[expert]; }
  std::size_t hidden() const { return hidden_; }
  std::mt19937& random() { return random_; }

 private:
  Tensor tensor(std::size_t rows, std::size_t cols, DType dtype) {
    std::vector<float> values = random_floats(rows * cols, random_);
    const float scale = std::sqrt(3.0f / static_cast<float>(cols));
    for (float& value : values) value *= scale;
    bytes_.emplace_back(1 + rows * cols * bytes_of(dtype));  // odd addresses
    reference::to_wire({values.data(), rows, cols}, {bytes_.back().data() + 1, dtype, rows, cols});
    return {bytes_.back().data() + 1, dtype, rows, cols};
  }

  std::mt19937 random_;
  std::deque<std::vector<std::byte>> bytes_;
  std::vector<ExpertWeights> all_;
  std::size_t hidden_;
};

/// Rows and their experts: each row of `rows` visits `top` experts.
struct Routing {
  std::vector<std::vector<RowWeight>> rows;
  std::vector<ExpertWork> work;

  Routing(std::size_t experts, std::size_t count, std::size_t top) : rows(experts) {
    for (std::uint32_t row = 0; row < count; ++row)
      for (std::size_t choice = 0; choice < top; ++choice)
        rows[(row * 3 + choice) % experts].push_back(
            {row, 0.25f + 0.5f * static_cast<float>(choice)});
    for (std::uint32_t expert = 0; expert < experts; ++expert)
      if (!rows[expert].empty())
        work.push_back({expert, {rows[expert].data(), rows[expert].size()}});
  }
  Span<const ExpertWork> span() const { return {work.data(), work.size()}; }
};

struct ExpertCase {
  std::size_t experts, hidden, ffn, rows, top;
  DType dtype;
};

/// Worst error of `backend`, which is empty, in units of the bound; checks on the way.
///
/// Rounding errors of a sum of n terms behave like a random walk, about sqrt(n)·eps of the terms'
/// size (Higham & Mary 2019); SiLU and the products add a few more.  An output is a sum of ffn
/// terms, each a weight below sqrt(3/ffn) times an inner value below 4: at most 4·sqrt(3·ffn) in
/// size.  `top` of them are added with weights below 1.  `rounded`: the relative error that a
/// backend adds to all terms by rounding rows and inner values to 16 bits, both products together.
inline double worst_of(ExpertBackend& backend, const ExpertCase& c, double rounded) {
  Experts experts(c.experts, c.hidden, c.ffn, c.dtype);
  const auto plain = make_reference_backend();
  experts.load_into(backend);
  experts.load_into(*plain);
  const OwnedTensor in(c.rows, c.hidden, DType::f32, 1, experts.random());
  const Routing routing(c.experts, c.rows, c.top);
  OwnedTensor actual(c.rows, c.hidden, DType::f32, 3, experts.random());
  OwnedTensor expected(c.rows, c.hidden, DType::f32, 0, experts.random());
  bool overflowed = true;
  CHECK(backend.run(routing.span(), in.view(), actual.writable(), overflowed));
  CHECK_FALSE(overflowed);
  CHECK(plain->run(routing.span(), in.view(), expected.writable(), overflowed));

  const auto hidden = static_cast<double>(c.hidden), ffn = static_cast<double>(c.ffn);
  const double bound = static_cast<double>(c.top) * 4 * std::sqrt(3 * ffn) *
                       ((std::sqrt(hidden) + std::sqrt(ffn) + 16) * kEpsilon + rounded);
  WorstError worst;
  for (std::size_t row = 0; row < c.rows; ++row)
    for (std::size_t col = 0; col < c.hidden; ++col)
      worst.see(static_cast<double>(reference::element(actual.view(), row, col)),
                static_cast<double>(reference::element(expected.view(), row, col)), bound);
  return worst.ratio();
}

}  // namespace wdmoe::kernels
