#pragma once
// Experts with seeded random f32 weights, for tests that need numbers but no model.

#include <cstdint>
#include <random>
#include <vector>

#include "common/expert.h"

namespace wdmoe::test {

class RandomExperts {
 public:
  RandomExperts(std::size_t layers, std::size_t experts, std::size_t hidden, std::size_t ffn,
                std::uint64_t seed = 1)
      : layers_(layers), experts_(experts), hidden_(hidden), ffn_(ffn) {
    std::mt19937_64 random(seed);
    values_.resize(layers * experts * 3 * hidden * ffn);
    for (float& value : values_)
      value = static_cast<float>(static_cast<double>(random() >> 40) / double(1 << 24) - 0.5);
  }

  std::size_t layers() const { return layers_; }
  std::size_t experts() const { return experts_; }
  std::size_t hidden() const { return hidden_; }

  ExpertWeights at(std::size_t layer, std::size_t expert) const {
    const std::size_t size = hidden_ * ffn_;
    const float* first = values_.data() + (layer * experts_ + expert) * 3 * size;
    const auto bytes = [](const float* data) { return reinterpret_cast<const std::byte*>(data); };
    return {{bytes(first), DType::f32, ffn_, hidden_},
            {bytes(first + size), DType::f32, ffn_, hidden_},
            {bytes(first + 2 * size), DType::f32, hidden_, ffn_}};
  }

 private:
  std::size_t layers_, experts_, hidden_, ffn_;
  std::vector<float> values_;
};

/// rows x cols numbers in [-1, 1).
inline std::vector<float> random_rows(std::size_t rows, std::size_t cols, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> values(rows * cols);
  for (float& value : values)
    value = static_cast<float>(static_cast<double>(random() >> 40) / double(1 << 23) - 1.0);
  return values;
}

}  // namespace wdmoe::test
