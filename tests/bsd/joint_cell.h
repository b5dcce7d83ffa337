#pragma once
// Random cells for the joint tests: gates and holders of random_cell.h, devices at the paper's
// distances, powers and compute rates.

#include <array>
#include <random>
#include <vector>

#include "bsd/joint.h"
#include "bsd/radio/link.h"
#include "tests/bsd/moe/random_cell.h"

namespace wdmoe::bsd {

struct JointCell {
  RandomCell gates;
  std::vector<radio::DeviceDemand> devices;
  Cell cell;

  JointCell(const CellShape& shape, std::mt19937& random) : gates(shape, random) {
    std::uniform_real_distribution<double> uniform(0, 1);
    std::exponential_distribution<double> fading(1);
    const bool round_trips = random() % 2, fast = random() % 2;
    for (std::size_t device = 0; device < shape.devices; ++device) {
      radio::DeviceDemand demand;
      const double path = radio::path_gain(Hertz(3.5e9), Metres(50 + 250 * uniform(random)));
      demand.power_dl = Watts(10);
      demand.power_ul = Watts(0.2);
      demand.gain_dl = path * (0.05 + fading(random));
      demand.gain_ul = path * (0.05 + fading(random));
      demand.compute_per_token = Seconds((fast ? 1e-6 : 1e-4) * (0.2 + uniform(random)));
      demand.fixed = Seconds(round_trips ? 2e-3 * uniform(random) : 0);
      devices.push_back(demand);
    }
    constexpr std::array kMedia{radio::Medium::fdma_common, radio::Medium::fdma_separate,
                                radio::Medium::airtime};
    cell.medium = kMedia[random() % kMedia.size()];
    cell.bandwidth = Hertz(100e6);
    cell.noise = radio::kThermalNoise;
    cell.bits_per_row = Bits(16 * 4096);
    cell.devices = devices;
    cell.pipelined = random() % 4 == 0;
  }
  JointCell(const JointCell&) = delete;  // cell.devices points into devices
  JointCell& operator=(const JointCell&) = delete;

  SelectionInput input(double quality) const {
    SelectionInput in;
    in.top_k = gates.shape.top_k;
    in.probabilities = {gates.probabilities.data(), gates.shape.rows, gates.shape.experts};
    in.holders = &gates.holders;
    in.quality = quality;
    return in;
  }
};

}  // namespace wdmoe::bsd
