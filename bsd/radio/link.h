#pragma once
// What one direction of one device's radio link can carry: Shannon rate, its inverse, path loss.
// Pure functions; symbols as in the paper: R(B) = B·log2(1 + P·g/(N0·B)).

#include "common/units.h"

namespace wdmoe::radio {

/// Thermal noise of the paper's setting: -174 dBm/Hz.
constexpr WattsPerHertz kThermalNoise{3.9810717055349693e-21};

/// Power ratio of so many decibels.
double ratio_from(Decibels decibels);

/// One direction of a link, reduced to the number that matters: S = P·g/N0.
struct Link {
  Hertz strength;  ///< the bandwidth in which the SNR is 1
};

Link make_link(Watts power, double gain, WattsPerHertz noise);

/// The link that carries `rate` in `bandwidth`: how a measured rate feeds the model.
/// Both > 0; inverts rate_of.
Link measured_link(BitsPerSecond rate, Hertz bandwidth);

/// The channel gain behind a link of known power: feeds a measured link to the allocator.
double gain_of(Link link, Watts power, WattsPerHertz noise);

/// Shannon rate of the link in `bandwidth` (>= 0, also infinite).  Zero strength or bandwidth: 0.
BitsPerSecond rate_of(Link link, Hertz bandwidth);

/// What no bandwidth exceeds: S / ln 2.
BitsPerSecond rate_limit(Link link);

/// Least bandwidth that carries `rate`: the inverse of rate_of, by Newton's method on logarithms.
/// 0 for rates <= 0; infinite at or above rate_limit().
Hertz bandwidth_for(Link link, BitsPerSecond rate);

/// Power gain (0…1) over `distance` in the open: 10^(-(32.4 + 20 log10 f_GHz + 20 log10 d_m)/10),
/// the paper's path loss.  Distances below 1 m count as 1 m (the formula is for the far field).
double path_gain(Hertz carrier, Metres distance);

}  // namespace wdmoe::radio
