#pragma once
// Packets on the air: how long each waits, is sent, travels, and which are lost.  A pure function
// of what is offered when: the caller owns the time.  A flow is one direction of one device.
//
//   offer() -> bounded queue -> transmission at the flow's rate -> lost, or delay and jitter ->
//   take()

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <vector>

#include "common/clock.h"
#include "common/span.h"
#include "common/units.h"
#include "sim/airlink/histogram.h"

namespace wdmoe::airlink {

constexpr Nanoseconds kNever = Nanoseconds::max();

struct Flow {
  BitsPerSecond rate;       ///< of IP packets; with a shared medium: while it has the turn
  Nanoseconds delay{0};     ///< from the end of transmission to arrival
  Nanoseconds jitter{0};    ///< standard deviation of delay; never overtakes
  double loss = 0;          ///< share of packets that are sent and do not arrive
  std::size_t queue_bytes;  ///< waiting or being sent; what does not fit is dropped
};

struct FlowCounts {
  std::uint64_t packets_offered = 0, bytes_offered = 0;
  std::uint64_t packets_delivered = 0, bytes_delivered = 0;  ///< taken
  std::uint64_t dropped = 0;                                 ///< the queue was full
  std::uint64_t lost = 0;                                    ///< on the air
  double airtime_s = 0;                                      ///< spent sending
  Histogram delay;                                           ///< from offer to due
};

struct Arrival {
  std::size_t flow = 0;
  Nanoseconds due{0};
  std::vector<std::byte> bytes;
};

/// Times count from the start of the emulation and must not go back.
class Air {
 public:
  /// `shared`: one transmission at a time among all flows; the turn passes packet by packet to the
  /// flow that has had the least airtime of those that wait (stride scheduling with equal shares,
  /// as in ExchangePlayer; who had nothing to send saves up nothing).  Otherwise each flow has a
  /// band of its own.
  Air(std::vector<Flow> flows, bool shared, std::uint64_t seed);

  /// From `now` on.  A packet being sent goes on at the new rate; at rate 0 it waits, without
  /// holding up others.
  void change(std::size_t flow, const Flow& now_is, Nanoseconds now);

  /// False: dropped.
  bool offer(std::size_t flow, std::vector<std::byte> bytes, Nanoseconds now);

  /// When something happens next; kNever if nothing will.  Call take() then.
  Nanoseconds next() const;
  /// The packet due first, if it is due by `now`.
  std::optional<Arrival> take(Nanoseconds now);

  const Flow& flow(std::size_t flow) const { return flows_[flow].is; }
  const FlowCounts& counts(std::size_t flow) const { return flows_[flow].counts; }

 private:
  struct Waiting {
    Nanoseconds offered;
    std::vector<std::byte> bytes;
  };
  struct FlowState {
    Flow is;
    FlowCounts counts;
    std::deque<Waiting> queue;  // front: being sent, if a server serves this flow
    std::size_t queued_bytes = 0;
    double left_bits = 0;        // of the front
    double pass_s = 0;           // airtime had, for turns
    std::deque<Arrival> on_way;  // sent, not yet due; due times never fall
    Nanoseconds last_due{0};
    std::mt19937_64 random;
    std::normal_distribution<double> normal;
  };
  struct Server {                     // a band: serves one packet at a time
    std::size_t first = 0, last = 0;  // its flows: [first, last)
    std::optional<std::size_t> flow;  // being served
    Nanoseconds since{0};             // left_bits of its front holds at this time
    Nanoseconds ends = kNever;
    double pass_s = 0;  // of the flow served last, as its service began
  };

  Server& server_of(std::size_t flow) { return servers_[servers_.size() == 1 ? 0 : flow]; }
  void advance(Nanoseconds now);
  void settle(Server& server, Nanoseconds now);
  void pick(Server& server, Nanoseconds now);
  void finish(Server& server);

  std::vector<FlowState> flows_;
  std::vector<Server> servers_;
};

}  // namespace wdmoe::airlink
