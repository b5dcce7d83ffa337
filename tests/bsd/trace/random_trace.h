#pragma once
// A made-up recording, as values: what a writer is given and a reader must give back.

#include <cstdint>
#include <random>
#include <vector>

#include "bsd/trace/record.h"

namespace wdmoe::bsd::trace {

struct OwnedRecord {
  std::uint64_t step = 0;
  std::size_t layer = 0, experts = 0;
  std::vector<Run> runs;
  std::vector<float> probabilities;
  Selection choices;

  Record view() const {
    return {step,
            layer,
            {runs.data(), runs.size()},
            Matrix<const float>(probabilities.data(), probabilities.size() / experts, experts),
            {choices.data(), choices.size()}};
  }
};

/// `steps` passes of some sequences through every layer; each row takes its top_k at random.
inline std::vector<OwnedRecord> random_trace(const Header& header, std::size_t steps,
                                             std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<std::uint32_t> lengths(3);
  std::vector<OwnedRecord> records;
  for (std::size_t step = 0; step < steps; ++step) {
    std::vector<Run> runs;
    std::size_t rows = 0;
    for (std::size_t sequence = 0; sequence < lengths.size(); ++sequence) {
      const auto count = static_cast<std::uint32_t>(random() % 4);
      if (count == 0 && (rows > 0 || sequence + 1 < lengths.size())) continue;
      const std::uint32_t taken = count == 0 ? 1 : count;
      runs.push_back({sequence + 10, lengths[sequence], taken});
      lengths[sequence] += taken;
      rows += taken;
    }
    for (std::size_t layer = 0; layer < header.layers; ++layer) {
      OwnedRecord record{step, layer, header.experts, runs, {}, {}};
      for (std::size_t row = 0; row < rows; ++row) {
        float sum = 0;
        std::vector<float> p(header.experts);
        for (float& value : p) sum += value = uniform(random);
        for (const float value : p) record.probabilities.push_back(value / sum);
        const auto first = static_cast<std::uint16_t>(random() % header.experts);
        for (std::size_t k = 0; k < header.top_k; ++k)
          record.choices.push_back({static_cast<std::uint32_t>(row),
                                    static_cast<std::uint16_t>((first + k) % header.experts),
                                    static_cast<std::uint16_t>(k), 1.0f / float(header.top_k)});
      }
      records.push_back(std::move(record));
    }
  }
  return records;
}

}  // namespace wdmoe::bsd::trace
