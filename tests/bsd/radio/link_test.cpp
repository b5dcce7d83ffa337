#include "bsd/radio/link.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "tests/bsd/radio/random_problem.h"

using namespace wdmoe;
using namespace wdmoe::radio;

TEST_CASE("link: the rate is Shannon's, with its limits at both ends") {
  const Link link = make_link(Watts(10), 1e-11, WattsPerHertz(1e-19));  // S = 1e9 Hz
  CHECK(link.strength.value() == doctest::Approx(1e9));
  CHECK(rate_of(link, Hertz(1e9)).value() == doctest::Approx(1e9));          // log2(1+1)
  CHECK(rate_of(link, Hertz(1e9 / 3)).value() == doctest::Approx(2e9 / 3));  // log2(1+3)
  CHECK(rate_of(link, Hertz(0)).value() == 0);
  CHECK(rate_of({Hertz(0)}, Hertz(1e6)).value() == 0);
  CHECK(rate_of(link, Hertz(kInfinite)).value() == rate_limit(link).value());
  CHECK(rate_limit(link).value() == doctest::Approx(1e9 / std::log(2.0)));
  CHECK(rate_of(link, Hertz(1e300)).value() == doctest::Approx(rate_limit(link).value()));
  CHECK(std::isfinite(rate_of({Hertz(1e300)}, Hertz(1e-300)).value()));
}

TEST_CASE("link: the inverse gives back the bandwidth over sixty decades of SNR") {
  Dice dice(1);
  for (int i = 0; i < 20000; ++i) {
    const Link link{Hertz(dice.power_of_ten(-20, 20))};
    const Hertz band = link.strength / dice.power_of_ten(-4, 60);
    const Hertz found = bandwidth_for(link, rate_of(link, band));
    CAPTURE(link.strength.value());
    CAPTURE(band.value());
    // At SNR y <= 1 the rate is within y/2 of its limit, so 1 ulp of rate is about 2/y ulp of band.
    const double snr = link.strength / band;
    const double tolerance = 1e-14 + 1e-15 * (1 + 2 / snr);
    CHECK(found / band == doctest::Approx(1).epsilon(tolerance));
  }
}

TEST_CASE("link: the inverse is defined for every rate") {
  const Link link{Hertz(1e9)};
  CHECK(bandwidth_for(link, BitsPerSecond(0)).value() == 0);
  CHECK(bandwidth_for(link, BitsPerSecond(-1)).value() == 0);
  CHECK(bandwidth_for(link, BitsPerSecond(std::nan(""))).value() == 0);
  CHECK(bandwidth_for(link, rate_limit(link) * 1.001).value() == kInfinite);
  CHECK(bandwidth_for({Hertz(0)}, BitsPerSecond(1)).value() == kInfinite);
  CHECK(bandwidth_for({Hertz(1e300)}, BitsPerSecond(1e-300)).value() >= 0);
}

TEST_CASE("link: a measured rate gives the link that carries it") {
  const Link link = measured_link(BitsPerSecond(60e6), Hertz(20e6));
  CHECK(link.strength.value() == doctest::Approx(20e6 * 7));  // 2^3 - 1
  CHECK(rate_of(link, Hertz(20e6)).value() == doctest::Approx(60e6));
  const double gain = gain_of(link, Watts(0.2), kThermalNoise);
  CHECK(make_link(Watts(0.2), gain, kThermalNoise).strength / link.strength == doctest::Approx(1));
}

TEST_CASE("link: path loss is the paper's, never a gain") {
  // 32.4 + 20 log10(3.5) + 20 log10(100) = 83.28136 dB
  const double gain = path_gain(Hertz(3.5e9), Metres(100));
  CHECK(gain / ratio_from(Decibels(-83.28136)) == doctest::Approx(1).epsilon(1e-5));
  CHECK(path_gain(Hertz(3.5e9), Metres(0)) == path_gain(Hertz(3.5e9), Metres(1)));
  CHECK(ratio_from(Decibels(30)) == doctest::Approx(1000));
}
