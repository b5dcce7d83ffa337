#include "bsd/radio/certificate.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include "tests/bsd/radio/random_problem.h"

using namespace wdmoe;
using namespace wdmoe::radio;

// A certificate that accepts everything proves nothing: each part must notice its own violation.
TEST_CASE("certificate: notices every way of leaving the optimum") {
  Dice dice(6);
  for (const Medium medium : {Medium::fdma_separate, Medium::fdma_common, Medium::airtime}) {
    CAPTURE(name_of(medium));
    OwnedProblem owned;
    fill_randomly(owned, medium, 6, 4, dice);
    for (DeviceDemand& device : owned.devices) device.tokens = 10;
    Allocator allocator;
    const auto solved = allocator.solve(owned.problem);
    REQUIRE(solved.has_value());
    const std::vector<DeviceShare> best(solved->devices.begin(), solved->devices.end());
    CHECK(certify(owned.problem, best).residual() <= 1e-9);

    auto shares = best;  // a device less
    shares[2].bandwidth_dl = Hertz(0);
    CHECK(std::isinf(certify(owned.problem, shares).imbalance));

    shares = best;  // more than there is
    for (DeviceShare& share : shares) share.bandwidth_dl = share.bandwidth_dl * 1.001;
    CHECK(certify(owned.problem, shares).budget >= 1e-4);

    shares = best;  // from one to the other
    const Hertz moved = shares[0].bandwidth_dl * 0.01;
    shares[0].bandwidth_dl = shares[0].bandwidth_dl - moved;
    shares[1].bandwidth_dl += moved;
    CHECK(certify(owned.problem, shares).budget <= 1e-12);
    CHECK(certify(owned.problem, shares).imbalance > 1e-9);
    if (medium == Medium::fdma_common) continue;
    CHECK(certify(owned.problem, shares).prices > 1e-3);
  }
}

TEST_CASE("certificate: shares that finish together but waste one band are not certified") {
  // Two like devices; one lives on a wide downlink, the other on a wide uplink, mirrored.
  OwnedProblem owned;
  owned.devices.assign(2, {10, Watts(1), Watts(1), 1e-11, 1e-11, Seconds(1e-4), Seconds(0)});
  owned.problem = {Medium::fdma_separate, Hertz(20e6), kThermalNoise, Bits(65536), owned.devices};
  const std::vector<DeviceShare> skewed{{Hertz(12e6), Hertz(8e6), Seconds(0)},
                                        {Hertz(8e6), Hertz(12e6), Seconds(0)}};
  const Certificate certificate = certify(owned.problem, skewed);
  CHECK(certificate.budget <= 1e-15);
  CHECK(certificate.imbalance <= 1e-12);
  CHECK(certificate.prices > 0.1);
}
