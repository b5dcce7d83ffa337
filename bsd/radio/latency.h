#pragma once
// How long a device keeps the base station waiting for the rows of one layer: the paper's sum, the
// pipelined model that real links follow, and one shared medium.  Pure functions of times per row,
// which come from a channel model (link.h) or from measured estimates alike.
// Selection policies take the linear form  seconds(rows) = fixed + rows · per_row.

#include <cstddef>

#include "bsd/radio/link.h"
#include "common/span.h"
#include "common/units.h"

namespace wdmoe::radio {

/// Shape of one SwiGLU expert.
struct ExpertShape {
  std::size_t hidden;            ///< m
  std::size_t ffn;               ///< m_h
  double activation_flops = 16;  ///< η: work of one SiLU, an estimate (exp, add, divide)
};

/// L_comm = ε·m: payload of one row, one way.
Bits payload(std::size_t hidden, double bits_per_element);

/// L_comp = 4·m·m_h + 2·m_h·m + η·m_h + m_h: work of one row in one expert.
Flops work(const ExpertShape& shape);

/// What one row costs on one device, by stage.
struct RowTimes {
  Seconds down{0};     ///< L_comm / R^dl
  Seconds compute{0};  ///< L_comp / C_k, of all the row's experts on this device together
  Seconds up{0};       ///< L_comm / R^ul
};

/// The channel model's times: `down` and `up` are the rates granted now.  A rate of 0 makes an
/// infinite time.
RowTimes row_times(Bits payload, BitsPerSecond down, BitsPerSecond up, Seconds compute);

/// The experts a device runs in one layer: one entry per (device, expert).
struct ExpertVisits {
  double rows;              ///< rows that visit this expert
  Seconds compute_per_row;  ///< of this expert here; differs by expert size and precision
};

/// Mean compute time of one of `rows` distinct rows: a row travels once per device even if it
/// visits several of the device's experts, but each visit is computed.  Requires rows > 0.
Seconds compute_per_row(Span<const ExpertVisits> experts, double rows);

/// Total latency of one device, linear in its rows (>= 1).  A device without rows costs nothing.
struct LinearLatency {
  Seconds fixed{0};
  Seconds per_row{0};
  Seconds at(double rows) const { return rows > 0 ? fixed + rows * per_row : Seconds(0); }
};

/// The paper's model: q·(d + c + u), stages one after another for every row, plus a round trip.
/// t_k of the paper is per_row with no round trip.
LinearLatency summed(const RowTimes& row, Seconds round_trip = Seconds(0));

/// Rows overlap: while row 2 comes down, row 1 is computed.  Finish time of q equal rows in a flow
/// shop of three stages:  rtt + (d + c + u) + (q - 1)·max(d, c, u).
LinearLatency pipelined(const RowTimes& row, Seconds round_trip = Seconds(0));

/// Time on a shared medium that one row takes from everybody, at the rates of the whole band: d +
/// u.
Seconds airtime(const RowTimes& row_alone);

/// One device's part in a layer.
struct DeviceRows {
  double rows = 0;
  LinearLatency latency;
  Seconds airtime{0};  ///< per row, on a shared medium; 0 if it has a band of its own
};

/// t^i = max_k: what the next attention waits for.  On a shared medium (Wi-Fi: every station and
/// both directions take turns) also the medium's total busy time:
///     max( Σ_k q_k·airtime_k,  max_k latency_k(q_k) )
/// a lower bound on any order of sending, met when no turn is left empty.
Seconds waiting_latency(Span<const DeviceRows> devices);

}  // namespace wdmoe::radio
