#pragma once
// The agents, as the decoder sees them: an ExpertRunner over the air.  Owns the ROUTER socket and
// lives on the engine thread; only what says so may be called from others.

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bsd/fleet/connections.h"
#include "bsd/fleet/parcels.h"
#include "bsd/fleet/roster.h"
#include "bsd/fleet/send_order.h"
#include "bsd/fleet/shares.h"
#include "bsd/moe/expert_runner.h"
#include "bsd/radio/estimate.h"
#include "common/clock.h"
#include "common/log.h"
#include "wire/messages.h"
#include "wire/socket.h"

namespace wdmoe::bsd {

struct FleetOptions {
  std::string endpoint;
  std::optional<wire::ServerKeys> keys;  ///< wire::server_keys(); none: no authentication
  DType wire = DType::f16;               ///< of rows on the air, both ways
  milliseconds deadline{10'000};         ///< a layer's answers
  milliseconds heartbeat{1'000};
  microseconds spin{50};  ///< poll for answers this long before sleeping
  wire::SocketOptions socket;
  Connections::PriorityOf priority_of;  ///< of agents' packets; empty: left alone
  /// Called some 20 times a second while a layer waits (sign of life).  False: give the layer up.
  std::function<bool()> turning = [] { return true; };
};

/// One agent's life so far, for /metrics and /wdmoe/v1/agents.  Sums since the daemon started.
struct AgentSnapshot {
  std::string name, software, backend;
  bool up = false;
  std::uint32_t experts = 0;
  std::uint64_t memory_bytes = 0, weights_bytes = 0;
  std::uint64_t joins = 0;
  std::uint64_t dispatches = 0, rows = 0, assignments = 0;  ///< whose answers were used
  std::uint64_t failures = 0;        ///< refusals, timeouts, lost connections, bad answers
  std::uint64_t late = 0;            ///< answers nobody waited for any more
  std::uint64_t bytes_sent = 0;      ///< Dispatches, answered or not
  std::uint64_t bytes_received = 0;  ///< every frame
  microseconds queue{0}, compute{0}, total{0};  ///< as the agent measured them
  Nanoseconds round_trip{0};                    ///< from sending to receiving, here
  wire::Health health;                          ///< the last reported
  std::string address;                          ///< numeric; empty: not up, or no TCP
  std::uint32_t priority = 0;                   ///< SO_PRIORITY of its connection; 0: none
  bool paces = false;                           ///< it obeys shares of the uplink
  /// The last seen of its connection: the downlink by the kernel here, the uplink by its own.
  std::optional<radio::TcpSample> downlink, uplink;
};

struct FleetSnapshot {
  std::vector<AgentSnapshot> agents;  ///< in the order they first joined; device index of a Choice
  bool complete = false;
  std::string missing;
  std::uint64_t frames_refused = 0, hellos_refused = 0;
};

class Fleet final : public ExpertRunner {
 public:
  /// Listens.  `context` and `clock` outlive the fleet.  Errors: a port that is taken, a bad
  /// endpoint; limit: a step's rows do not fit one message (names prefill_chunk).
  static Result<std::unique_ptr<Fleet>> open(const wire::Context& context, FleetOptions options,
                                             ModelFacts model, const Clock& clock);
  ~Fleet() override;

  const Holders& holders(std::size_t layer) const override { return roster_.holders(layer); }
  std::size_t worth_under_way() const override { return kMostUnderWay; }
  /// Of those agents that have answered; the median of them for those that have not.
  Latencies latencies() override;
  Waiting last_wait() const override { return last_wait_; }

  /// Errors name the agent: unavailable (nobody holds an expert, connection lost, it refused),
  /// timeout, bad_input (an answer malformed, of a wrong shape or not finite; the third such in a
  /// row is unavailable, and its agent is out for half a minute); cancelled: options.turning said
  /// no.  An agent that timed
  /// out or lost its connection is dropped until it says Hello again.  y is undefined after an
  /// error.  finish() waits for options.deadline at most.  Neither allocates once it has seen a
  /// batch as large.
  Result<void> begin(std::size_t layer, const Selection& selection, Matrix<const float> x,
                     Matrix<float> y, StepCosts& costs) override;
  Result<void> finish(StepCosts& costs) override;
  void abandon() override;  ///< answers that still come are late

  /// Between steps: lets agents in and out, answers pings, until `timeout` is over or one of
  /// `wake_fds` (at most 8) is readable; true in that case.  Timeout 0: whatever waits now.
  bool service(Nanoseconds timeout, Span<const int> wake_fds);

  bool complete() const { return roster_.complete(); }
  std::uint64_t keys_refused() const { return router_->keys_refused(); }
  std::string missing() const { return roster_.missing(); }
  const Roster& roster() const { return roster_; }
  const std::string& endpoint() const { return router_->endpoint(); }

  /// Tells every agent that this base station leaves on purpose.
  void say_goodbye();

  // Callable from any thread.
  FleetSnapshot snapshot() const;
  /// What is known of every agent's link, in the order of the snapshot; those nobody has heard of
  /// yet may be missing at the end.
  std::vector<radio::LinkState> links() const;
  void note(std::size_t device, const radio::StationSample& sample);
  void note(std::size_t device, const radio::BacklogSample& sample);
  /// Payload rates that an actuator enforces now, 0: none; so that they are not taken for the
  /// link's.
  void set_limits(std::size_t device, double down_bps, double up_bps);
  /// [devices], bit/s of payload that each may send; 0, and whoever is beyond the end: as fast as
  /// it can.  Agents are told within a quarter of a second, those that pace; the effect shows in
  /// the snapshot (uplink->pacing_bps).
  void set_uplinks(std::vector<double> bps);
  /// Whether large parcels are cut, pieces leave in the order of send_order.h, and what is under
  /// way to an agent keeps within its window; from the next begin() on.
  void set_ordered(bool on) { ordered_.store(on, std::memory_order_relaxed); }

 private:
  using Index = Roster::Index;

  /// One Dispatch and its answer.
  struct PieceMessage {
    std::uint64_t id = 0;  // 0: none, or given up
    Instant sent_at{}, received_at{};
    bool sent = false, answered = false;
    bool awaited = false;  // taken in as it came: `received_at` is not late
    bool queued = false;   // behind another: its round trip includes work on that
    std::size_t assignments = 0, bytes_sent = 0, bytes_received = 0;
    bool under_way() const { return id != 0 && !answered; }
    /// Whether received_at - sent_at is the time of the agent and the air, and of nothing else.
    bool undisturbed() const { return awaited && !queued; }
    wire::Frame frame;          // the Dispatch, if it had to wait; then the answer
    wire::ExpertResult result;  // views into it
  };
  /// One layer of one part of a batch, from begin() to finish().
  struct Exchange {
    std::size_t layer = 0;
    Instant began{};
    Matrix<float> y;
    Parcels parcels;
    bool ordered = false;
    std::vector<Piece> pieces;           // by device, then by row
    std::vector<PieceMessage> messages;  // [pieces], and spare ones
    std::vector<std::uint32_t> unsent;   // indices of pieces, in the order of sending
    std::size_t combined = 0;            // pieces, in that order
    bool complete() const { return combined == pieces.size(); }
    bool waits_for(Index device) const {
      for (std::size_t index = 0; index < pieces.size(); ++index)
        if (pieces[index].device == device && messages[index].under_way()) return true;
      return false;
    }
    void clear() {
      for (PieceMessage& message : messages) message.id = 0;
      pieces.clear();
      unsent.clear();
      combined = 0;
    }
  };
  struct Asked {
    Exchange* exchange = nullptr;
    std::size_t index = 0;  // of the piece
  };
  struct Pulse {
    Instant heard{}, pinged{};
    std::string peer;        // its last connection, also after it was dropped
    int bad_answers = 0;     // in a row
    Instant banned_until{};  // no Hello before
  };

  Fleet(std::unique_ptr<wire::Router> router, FleetOptions options, ModelFacts model,
        const Clock& clock);

  // links.cpp
  void count_load(const Parcels& parcels);
  void learn(const Exchange& exchange, std::size_t index);
  void watch_connection(Index device, const wire::ExpertResult* result);
  void watch_waiting(Instant now);
  void find_connection(Index device);
  void tell_shares(Instant now);

  // sending.cpp
  void plan_sending(Exchange& exchange);
  Result<void> send_all(Exchange& exchange, Matrix<const float> x, StepCosts& costs);
  Result<void> send_waiting(StepCosts& costs);
  Result<void> send_piece(Exchange& exchange, std::size_t index, Bytes frame, StepCosts& costs);
  bool may_send(const Exchange& exchange, Index device) const;
  Bytes encode(Exchange& exchange, std::size_t index, Matrix<const float> x);

  // exchange.cpp
  Exchange& under_way(std::size_t index) {
    return exchanges_[(oldest_ + index) % exchanges_.size()];
  }
  void gather(Exchange& exchange, StepCosts& costs);
  static Nanoseconds response_of(const Exchange& exchange);
  bool receive_spinning();
  void look_around(const Exchange& exchange, Instant deadline);
  Error timed_out(const Exchange& exchange) const;
  bool is_pending(Index device) const;
  Asked asked_by(Index device, const wire::ExpertResult& result);
  void take_answer(Index device, const wire::ExpertResult& result);
  void blame(Index device, const std::string& why);
  void count_answer(const Exchange& exchange, std::size_t index);
  void combine_ready(Exchange& exchange);
  bool add_answer(const Exchange& exchange, std::size_t index);
  void fail_exchange(Index device, Code code, const std::string& why);

  // fleet.cpp
  void take_message();            // incoming_
  std::optional<Index> sender();  // of incoming_
  void take_stranger(const wire::Message& message);
  std::optional<std::string> banned(const std::string& name) const;
  void greet(const wire::Hello& hello);
  void welcome(Index device, const Roster::Verdict& verdict);
  void keep_house();
  void watch_links();
  void probe_links(Instant now);
  void beat_hearts(Instant now);
  struct Wake {
    bool fd = false;     ///< one of wake_fds is readable
    bool house = false;  ///< the monitor or an authentication request is
  };
  Wake sleep(Instant until, Span<const int> wake_fds);
  void drop(Index device, const char* why);
  void send_to(const std::string& peer, Bytes frame);
  void publish_roster();
  const std::string& name_of(Index device) const { return roster_.devices()[device].hello.name; }

  std::unique_ptr<wire::Router> router_;
  FleetOptions options_;
  ModelFacts model_;
  const Clock& clock_;
  Roster roster_;
  Connections connections_;
  wire::Encoder encoder_;
  wire::Incoming incoming_;

  std::array<Exchange, kMostUnderWay> exchanges_;  // a ring
  std::size_t oldest_ = 0, count_ = 0;             // of those under way
  std::vector<Tail> tails_;                        // [devices] of the exchange that begins
  std::vector<double> windows_;                    // [devices], bytes
  std::vector<fb::Assignment> assignments_;        // of one message
  std::atomic<bool> ordered_{false};
  std::optional<Error> error_;  // the first of those under way
  std::vector<float> scratch_;  // [rows, hidden] of one answer
  std::uint64_t next_id_, pings_ = 0;

  mutable std::mutex estimates_mutex_;
  radio::Estimates estimates_;     // guarded by estimates_mutex_
  std::vector<std::size_t> rows_;  // [devices] of one exchange
  bool looked_ = false;            // the socket was empty since gather() began
  Waiting last_wait_;

  UplinkShares shares_;
  Instant next_watch_{};  // of connections, while a layer waits

  std::vector<Pulse> pulses_;  // [devices]
  Instant last_beat_{};
  Instant next_house_{};  // while a layer waits
  int probes_left_ = 0;   // after a disconnect: who is gone?
  Instant next_probe_{};
  log::RateLimit bad_frames_{milliseconds(10'000)}, bad_keys_{milliseconds(10'000)},
      no_priority_{milliseconds(60'000)};

  mutable std::mutex mutex_;
  FleetSnapshot stats_;          // guarded by mutex_; agents[device]
  std::vector<double> uplinks_;  // guarded by mutex_; as wanted
};

}  // namespace wdmoe::bsd
