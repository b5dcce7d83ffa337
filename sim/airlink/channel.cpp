#include "sim/airlink/channel.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::airlink {
namespace {

Nanoseconds from_seconds(double seconds) {
  return Nanoseconds(std::llround(1e9 * seconds));
}
Nanoseconds from_ms(double ms) {
  return from_seconds(1e-3 * ms);
}

sim::Scenario cell_of(const Scenario& scenario) {
  sim::Scenario cell;
  cell.cell = scenario.cell;
  cell.channel = scenario.channel;
  cell.mobility = scenario.mobility;
  for (const Device& device : scenario.devices) cell.devices.push_back(device.place);
  return cell;
}

}  // namespace

Channel::Channel(const Scenario& scenario)
    : events_(scenario.events),
      cell_(cell_of(scenario), scenario.seed),
      band_(scenario.cell.bandwidth_hz),
      step_(from_ms(scenario.update_ms)) {
  if (scenario.cell.medium_kind() != radio::Medium::airtime)
    band_ = band_ / static_cast<double>(scenario.devices.size());
  const Hertz carrier(scenario.cell.carrier_hz);
  for (const Device& device : scenario.devices) {
    names_.push_back(device.place.name);
    start_gain_.push_back(radio::path_gain(carrier, Metres(device.place.distance_m)));
    const auto nominal = [&](double mbit, double power_w) {
      return mbit > 0 ? radio::measured_link(BitsPerSecond(1e6 * mbit), band_)
                      : radio::make_link(Watts(power_w), start_gain_.back(), scenario.cell.noise());
    };
    nominal_.push_back(nominal(device.down_mbit, scenario.cell.bs_power_w));
    nominal_.push_back(nominal(device.up_mbit, device.place.power_w));
    const Flow flow{BitsPerSecond(0), from_ms(device.delay_ms), from_ms(device.jitter_ms),
                    device.loss, static_cast<std::size_t>(1e3 * device.queue_kb)};
    flows_.insert(flows_.end(), 2, flow);
  }
  factor_.assign(flows_.size(), 1.0);
  if (scenario.channel.fading != "none" || scenario.mobility.model != "none") next_step_ = step_;
  refresh();
  advance(Nanoseconds(0));
}

Nanoseconds Channel::next() const {
  if (next_event_ == events_.size()) return next_step_;
  return std::min(next_step_, from_seconds(events_[next_event_].at_s));
}

void Channel::advance(Nanoseconds now) {
  for (Nanoseconds due = next(); due <= now; due = next()) {  // bounded by the time that has passed
    if (due == next_step_) {
      cell_.advance(Seconds(in_seconds(step_)));
      next_step_ += step_;
    } else {
      apply(events_[next_event_++]);
    }
    refresh();
  }
}

void Channel::apply(const Event& event) {
  for (std::size_t flow = 0; flow < flows_.size(); ++flow) {
    if (!event.device.empty() && names_[flow / 2] != event.device) continue;
    if (event.rate_factor >= 0) factor_[flow] = event.rate_factor;
    if (event.delay_ms >= 0) flows_[flow].delay = from_ms(event.delay_ms);
    if (event.loss >= 0) flows_[flow].loss = event.loss;
  }
}

void Channel::refresh() {
  const auto demands = cell_.demands();
  for (std::size_t device = 0; device < names_.size(); ++device) {
    const auto rate = [&](std::size_t flow, double gain) {
      const Hertz strength = nominal_[flow].strength * (gain / start_gain_[device]);
      return factor_[flow] * radio::rate_of({strength}, band_);
    };
    flows_[down_flow(device)].rate = rate(down_flow(device), demands[device].gain_dl);
    flows_[up_flow(device)].rate = rate(up_flow(device), demands[device].gain_ul);
  }
}

}  // namespace wdmoe::airlink
