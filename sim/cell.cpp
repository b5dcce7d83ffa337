#include "sim/cell.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "bsd/radio/link.h"
#include "sim/random.h"

namespace wdmoe::sim {

Cell::Cell(const Scenario& scenario, std::uint64_t seed)
    : channel_(scenario.channel),
      mobility_(scenario.mobility),
      carrier_(scenario.cell.carrier_hz),
      bs_power_(scenario.cell.bs_power_w),
      round_trip_(scenario.cell.round_trip_s),
      work_(scenario.work_per_visit()),
      one_channel_(scenario.cell.medium_kind() == radio::Medium::airtime),
      deepest_fade_(radio::ratio_from(Decibels(channel_.deepest_fade_db))),
      devices_(scenario.devices_for(seed)),
      fading_(random_stream(seed, Stream::fading)),
      jitter_(random_stream(seed, Stream::jitter)),
      walking_(random_stream(seed, Stream::mobility)) {
  if (channel_.fading == "none") {
    direct_ = 1;
  } else {
    const double k =
        channel_.fading == "rician" ? radio::ratio_from(Decibels(channel_.rician_k_db)) : 0.0;
    direct_ = std::sqrt(k / (k + 1));
    scattered_ = std::sqrt(1 / (k + 1));
  }
  demands_.resize(devices_.size());
  for (std::size_t device = 0; device < devices_.size(); ++device) {
    const double angle = std::uniform_real_distribution<double>(0, 2 * std::numbers::pi)(walking_);
    places_.push_back({std::polar(devices_[device].distance_m, angle), waypoint()});
    fades_.push_back({scatter(), scatter()});
    refresh(device);
  }
}

/// A complex normal number of mean power 1.
std::complex<double> Cell::scatter() {
  const double real = normal_(fading_), imaginary = normal_(fading_);
  return std::complex<double>(real, imaginary) * std::numbers::sqrt2 / 2.0;
}

/// Uniform in the disc.
std::complex<double> Cell::waypoint() {
  std::uniform_real_distribution<double> part;
  const double radius = mobility_.radius_m * std::sqrt(part(walking_));
  return std::polar(radius, 2 * std::numbers::pi * part(walking_));
}

void Cell::walk(Place& place, double metres) {
  constexpr int kMostLegs = 64;  // of one step; after more of them a device may be anywhere
  for (int leg = 0; leg < kMostLegs; ++leg) {
    const double left = std::abs(place.target - place.at);
    if (left > metres) {
      place.at += (place.target - place.at) * (metres / left);
      return;
    }
    metres -= left;
    place.at = place.target;
    place.target = waypoint();
  }
}

void Cell::advance(Seconds elapsed) {
  const double rho = std::exp(-elapsed.count() / channel_.coherence_s);
  const double fresh = std::sqrt(1 - rho * rho);
  for (std::size_t device = 0; device < devices_.size(); ++device) {
    if (scattered_ > 0) {
      Fade& fade = fades_[device];
      fade.down = rho * fade.down + fresh * scatter();
      fade.up = rho * fade.up + fresh * scatter();
    }
    if (mobility_.model != "none") walk(places_[device], mobility_.speed_m_per_s * elapsed.count());
    refresh(device);
  }
}

void Cell::refresh(std::size_t device) {
  const DeviceSpec& spec = devices_[device];
  const double path = radio::path_gain(carrier_, Metres(distance_m(device)));
  const auto gain = [&](std::complex<double> scattered) {
    return path * std::max(std::norm(direct_ + scattered_ * scattered), deepest_fade_);
  };
  const Fade& fade = fades_[device];
  double slowdown = 1;
  if (spec.jitter > 0) {
    const double variance = std::log1p(spec.jitter * spec.jitter);
    slowdown = std::exp(std::sqrt(variance) * normal_(jitter_) - variance / 2);
  }
  radio::DeviceDemand& demand = demands_[device];
  demand.power_dl = bs_power_;
  demand.power_ul = Watts(spec.power_w);
  demand.gain_dl = gain(fade.down);
  demand.gain_ul = gain(one_channel_ ? fade.down : fade.up);
  demand.compute_per_token = slowdown * (work_ / FlopsPerSecond(spec.compute_flops));
  demand.fixed = round_trip_;
}

}  // namespace wdmoe::sim
