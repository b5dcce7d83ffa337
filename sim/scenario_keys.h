#pragma once
// The keys that scenarios of the simulator and of wdmoe-airlink have in common: the band, the
// channel and who walks.

#include "common/config.h"
#include "sim/scenario.h"

namespace wdmoe::sim {

template <class Visitor>
void visit_medium(Visitor&& v, CellSpec& cell) {
  v("cell.medium", cell.medium, one_of({"fdma_separate", "fdma_common", "airtime"}),
    "how directions and devices share the air");
}

template <class Visitor>
void visit_band(Visitor&& v, CellSpec& cell) {
  v("cell.bandwidth_hz", cell.bandwidth_hz, between(1e3, 1e12), "of the whole band");
  v("cell.carrier_hz", cell.carrier_hz, between(1e6, 1e12), "carrier frequency");
  v("cell.bs_power_w", cell.bs_power_w, between(1e-6, 1e4), "base station's transmit power");
  v("cell.noise_dbm_per_hz", cell.noise_dbm_per_hz, between(-200, 0), "noise density");
}

template <class Visitor>
void visit_channel(Visitor&& v, ChannelSpec& channel, MobilitySpec& mobility) {
  v("channel.fading", channel.fading, one_of({"none", "rayleigh", "rician"}), "small scale");
  v("channel.rician_k_db", channel.rician_k_db, between(-30, 60), "direct over scattered");
  v("channel.coherence_s", channel.coherence_s, between(1e-6, 1e6), "fading's 1/e time");
  v("channel.deepest_fade_db", channel.deepest_fade_db, between(-200, 0), "floor of fading");
  v("mobility.model", mobility.model, one_of({"none", "random_waypoint"}), "who walks");
  v("mobility.speed_m_per_s", mobility.speed_m_per_s, between(0, 1e3), "of every device");
  v("mobility.radius_m", mobility.radius_m, between(1, 1e5), "of the disc they stay in");
}

template <class Visitor>
void visit_place(Visitor&& v, DeviceSpec& device) {
  v("distance_m", device.distance_m, between(1, 1e5), "from the base station");
  v("power_w", device.power_w, between(1e-6, 1e4), "transmit power");
}

}  // namespace wdmoe::sim
