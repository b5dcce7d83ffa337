#pragma once
// What is known of every agent's link, and the observations that it is learned from.  Plain values;
// estimate.h learns, the controller (bsd/shaping) and selection read.
//
// Rates are bit/s of payload: bytes of whole wdmoe messages as the fleet counts them, without
// CURVE's, TCP's, IP's and the link's headers.  An actuator that sets a rate on the wire converts.
// Times are seconds on the base station's steady clock, unless said otherwise.

#include <cstddef>
#include <cstdint>

namespace wdmoe::radio {

enum class Direction : std::uint8_t {
  down,  ///< base station to agent
  up,
};

/// One answered exchange with one device, in the order of the answers.
struct ExchangeSample {
  double at_s = 0;          ///< when the answer came; any clock that only goes forward
  std::size_t rows = 0;     ///< sent, each once
  double round_trip_s = 0;  ///< from sending to the answer, on our clock
  double queue_s = 0;       ///< on the agent's clock, before its first kernel
  double compute_s = 0;     ///< on the agent's clock
  double bytes_down = 0;    ///< of the Dispatch; 0: not known, and no rate is learned
  double bytes_up = 0;      ///< of the Result
  /// round_trip_s holds time that is neither the link's nor the agent's: the answer lay here until
  /// somebody looked, or the agent had other rows before these.  Its times are upper bounds then,
  /// its rate a lower one; compute_s is as good as any.
  bool disturbed = false;
};

/// A kernel's view of one TCP connection (TCP_INFO): the base station's of its own socket for
/// Direction::down, the agent's of its socket for Direction::up.  Taken when a Result arrives and,
/// while a layer waits, about every 20 ms for every connection that is waited for, so that a fall
/// of the rate is seen before the answer that it delays.
struct TcpSample {
  double at_s = 0;
  double delivery_bps = 0;  ///< tcpi_delivery_rate · 8, of TCP payload; 0: not known
  /// tcpi_delivery_rate_app_limited: the sender had nothing to send for part of the time.  Then
  /// delivery_bps is what the link carried at least, at some time: never "slow".
  bool app_limited = true;
  double rtt_s = 0;                 ///< smoothed; 0: not known
  double min_rtt_s = 0;             ///< the kernel's windowed minimum; 0: not known
  std::uint64_t unacked = 0;        ///< bytes sent and not acknowledged, queued ones included
  std::uint64_t bytes_acked = 0;    ///< since the connection began
  std::uint64_t segments = 0;       ///< data segments sent since the connection began
  std::uint64_t retransmitted = 0;  ///< segments, of those
  double pacing_bps = 0;            ///< SO_MAX_PACING_RATE · 8 as read back; 0: none
};

/// nl80211's station dump for one agent.  What a driver does not tell stays NaN or 0.
struct StationSample {
  double at_s = 0;
  double signal_dbm = 0;  ///< average; 0: not known
  double tx_bps = 0;      ///< PHY bit rate of the last frames to the station; 0: not known
  double rx_bps = 0;
  double expected_bps = 0;  ///< the driver's expected throughput; 0: not known
  double airtime_tx_s = 0;  ///< since association
  double airtime_rx_s = 0;
  std::uint64_t retries = 0, failed = 0;  ///< frames since association
  double inactive_s = 0;                  ///< since the station was last heard
  double airtime_weight = 0;              ///< as read back; 0: not known
};

/// What waits in the queue of the interface that carries an agent's traffic, as its queue
/// discipline (for tc: the agent's class) counts it.
struct BacklogSample {
  double at_s = 0;
  double bytes = 0;
};

/// What is known of one direction of one link.
struct DirectionState {
  /// What the link carries if this agent alone uses the medium.  0: nobody knows yet.
  double rate_bps = 0;
  /// False: rate_bps is only what it carried at least; no sample was large enough to show more.
  bool measured = false;
  double updated_s = 0;       ///< when a sample last confirmed or changed it
  double retransmission = 0;  ///< share of recent data segments that were sent again, 0…1
};

/// seconds(rows) = fixed + rows * per_row, for rows >= 1.
struct RowCost {
  double fixed_s = 0;
  double per_row_s = 0;
};

/// Everything known of one agent.
struct LinkState {
  bool known = false;  ///< it has answered
  DirectionState down, up;
  double base_rtt_s = 0;        ///< least recent round trip of a message too small to matter
  double queueing_s = 0;        ///< what stands in the way now beyond that, both directions
  double agent_queue_s = 0;     ///< median, on the agent, before its first kernel
  RowCost link, compute;        ///< medians, of the rows sent
  double compute_spread_s = 0;  ///< interquartile range of compute beyond `compute`
  double backlog_bytes = 0;     ///< BacklogSample's last
  StationSample station;        ///< the last; at_s == 0: none
  double rows = 0;  ///< q_k: rows asked of it per exchange of a layer, the newest included
};

}  // namespace wdmoe::radio
