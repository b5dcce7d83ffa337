// Fleet between steps: letting agents in and out, keeping connections, counting.

#include "bsd/fleet/fleet.h"

#include <algorithm>
#include <array>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

constexpr std::size_t kFrameHead = 4096;       // more than all of a frame that is no row or pair
constexpr int kSilentHeartbeats = 5;           // then an agent is taken for dead …
constexpr milliseconds kLeastPatience{5'000};  // … but not before this
constexpr milliseconds kHousekeeping{250};     // a sleep is never longer
constexpr milliseconds kGoodbyeLinger{200};    // for the last words to leave this machine
constexpr int kProbes = 5;                  // after a disconnect, this far apart: libzmq tells the
constexpr milliseconds kProbeInterval{10};  // monitor a little before it removes the route

}  // namespace

Result<std::unique_ptr<Fleet>> Fleet::open(const wire::Context& context, FleetOptions options,
                                           ModelFacts model, const Clock& clock) {
  const std::size_t pairs = model.rows * model.top_k;
  const wire::Limits& limits = options.socket.limits;
  if (pairs > limits.assignments ||
      model.rows * model.hidden * sizeof(float) + pairs * sizeof(fb::Assignment) + kFrameHead >
          limits.frame_bytes)
    return fail(Code::limit, "engine.prefill_chunk: " + std::to_string(model.rows) +
                                 " rows of this model do not fit one message; lower it or "
                                 "engine.max_sequences");
  auto router = wire::Router::bind(context, options.endpoint, options.keys, options.socket);
  if (!router) return tl::unexpected<Error>(std::move(router).error());
  return std::unique_ptr<Fleet>(
      new Fleet(std::move(*router), std::move(options), std::move(model), clock));
}

Fleet::Fleet(std::unique_ptr<wire::Router> router, FleetOptions options, ModelFacts model,
             const Clock& clock)
    : router_(std::move(router)),
      options_(std::move(options)),
      model_(model),
      clock_(clock),
      roster_(std::move(model), options_.wire),
      connections_(options_.priority_of),
      // An answer to an earlier process of ours must not look like one to us.
      next_id_(
          static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) |
          1u) {
  publish_roster();
}

Fleet::~Fleet() = default;

bool Fleet::service(Nanoseconds timeout, Span<const int> wake_fds) {
  const Instant until = clock_.now() + timeout;
  for (;;) {
    // Bounded: what every agent may have queued, so that a flood cannot hold the engine.
    const std::size_t most =
        (roster_.devices().size() + 1) * static_cast<std::size_t>(options_.socket.high_water);
    for (std::size_t count = 0; count < most && router_->receive(incoming_); ++count)
      take_message();
    keep_house();
    if (sleep(until, wake_fds).fd) return true;
    if (clock_.now() >= until) return false;
  }
}

/// Until something arrives, a wake_fd is readable or `until`; never longer than housekeeping can
/// wait.
Fleet::Wake Fleet::sleep(Instant until, Span<const int> wake_fds) {
  std::array<wire::WaitItem, 11> items{};
  WDMOE_CHECK(wake_fds.size() <= items.size() - 3);
  std::size_t count = 0;
  items[count++].socket = router_->handle();
  items[count++].socket = router_->monitor_handle();
  if (void* zap = router_->zap_handle()) items[count++].socket = zap;
  const std::size_t first_fd = count;
  for (const int fd : wake_fds) items[count++].fd = fd;
  const Instant now = clock_.now();
  until = std::min(until, now + kHousekeeping);
  if (probes_left_ > 0) until = std::min(until, next_probe_);
  wire::wait({items.data(), count}, std::max(Nanoseconds(0), until - now));
  const auto ready = [&](std::size_t first, std::size_t last) {
    return std::any_of(items.begin() + static_cast<std::ptrdiff_t>(first),
                       items.begin() + static_cast<std::ptrdiff_t>(last),
                       [](const wire::WaitItem& item) { return item.ready; });
  };
  return {ready(first_fd, count), ready(1, first_fd)};
}

/// None: a stranger.  A connection speaks for one key: should a routing id ever come back under
/// another, the device that had it is gone.
std::optional<Fleet::Index> Fleet::sender() {
  const auto device = roster_.find(incoming_.peer);
  if (!device) return std::nullopt;
  if (options_.keys && incoming_.user != name_of(*device)) {
    drop(*device, "its connection carries another key");
    return std::nullopt;
  }
  pulses_[*device].heard = clock_.now();
  find_connection(*device);
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.agents[*device].bytes_received += incoming_.frame.bytes().size();
  return device;
}

void Fleet::take_message() {
  const auto device = sender();
  const auto message = wire::decode(incoming_.frame.bytes(), options_.socket.limits);
  if (!message) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++stats_.frames_refused;
    }
    log::write_limited(bad_frames_, log::Level::warn, "frame_refused",
                       {{"agent", device ? name_of(*device) : incoming_.user},
                        {"bytes", incoming_.frame.bytes().size()},
                        {"reason", message.error().text}});
    if (device && is_pending(*device))
      fail_exchange(*device, Code::bad_input, "sent a bad frame: " + message.error().text);
    return;
  }
  if (const auto* result = std::get_if<wire::ExpertResult>(&*message); result && device) {
    take_answer(*device, *result);
  } else if (const auto* hello = std::get_if<wire::Hello>(&*message)) {
    greet(*hello);
  } else if (!device) {
    take_stranger(*message);
  } else if (const auto* ping = std::get_if<wire::Ping>(&*message)) {
    send_to(incoming_.peer, encoder_.pong(ping->sequence));
  } else if (std::holds_alternative<wire::Goodbye>(*message)) {
    drop(*device, "said goodbye");
  }
  // Pong: it was heard, that is all.  Welcome and Dispatch are ours to send, not an agent's.
}

/// Someone who has not said Hello, or was dropped: asked to say it.
void Fleet::take_stranger(const wire::Message& message) {
  if (std::holds_alternative<wire::Goodbye>(message)) return;
  if (std::holds_alternative<wire::ExpertResult>(message)) {  // of an agent that was dropped
    const auto known = std::find_if(pulses_.begin(), pulses_.end(), [&](const Pulse& pulse) {
      return pulse.peer == incoming_.peer;
    });
    if (known != pulses_.end()) {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++stats_.agents[static_cast<std::size_t>(known - pulses_.begin())].late;
    }
  }
  wire::Welcome welcome;
  welcome.status = wire::Status::not_ready;
  welcome.message = "say Hello first";
  send_to(incoming_.peer, encoder_.welcome(welcome));
}

/// Why this agent may not come back yet.
std::optional<std::string> Fleet::banned(const std::string& name) const {
  for (std::size_t index = 0; index < pulses_.size(); ++index)
    if (name_of(static_cast<Index>(index)) == name && clock_.now() < pulses_[index].banned_until)
      return "the last answers of " + name + " were not finite or of a wrong shape: check its " +
             "memory, weights and kernels; it may return half a minute after them";
  return std::nullopt;
}

void Fleet::greet(const wire::Hello& hello) {
  const std::string peer = incoming_.peer;
  const auto before = roster_.find(peer);
  Roster::Verdict verdict;
  if (const auto ban = banned(hello.name)) {
    verdict.status = wire::Status::backend_failed;  // not_ready would ask for a Hello at once
    verdict.message = *ban;
  } else {
    verdict = roster_.greet(hello, peer, incoming_.user);
  }
  if (verdict.status == wire::Status::duplicate_identity) {
    const Index holder = *verdict.device;
    if (router_->send(roster_.devices()[holder].peer, encoder_.ping(++pings_)) ==
        wire::Sent::gone) {  // the old connection died, the new one was faster
      drop(holder, "connection lost");
      verdict = roster_.greet(hello, peer, incoming_.user);
    }
  }
  if (verdict.status == wire::Status::ok) {
    const bool again = before && *before == *verdict.device;
    welcome(*verdict.device, verdict);
    if (!again)
      log::info("agent_up", {{"agent", hello.name},
                             {"experts", hello.experts.size()},
                             {"backend", hello.backend},
                             {"software", hello.software},
                             {"missing", roster_.missing()}});
    return;
  }
  log::warn("agent_refused", {{"agent", hello.name},
                              {"status", wire::name_of(verdict.status)},
                              {"reason", verdict.message}});
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++stats_.hellos_refused;
  }
  wire::Welcome refusal;
  refusal.status = verdict.status;
  refusal.message = verdict.message;
  send_to(peer, encoder_.welcome(refusal));
}

void Fleet::welcome(Index device, const Roster::Verdict& verdict) {
  if (pulses_.size() <= device) pulses_.resize(device + std::size_t{1});
  // What was sent over the old connection is lost.
  if (is_pending(device)) fail_exchange(device, Code::unavailable, "reconnected during the layer");
  pulses_[device].heard = pulses_[device].pinged = clock_.now();
  pulses_[device].peer = incoming_.peer;
  shares_.forget(device);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stats_.agents.size() <= device) stats_.agents.resize(device + std::size_t{1});
    ++stats_.agents[device].joins;
  }
  publish_roster();
  wire::Welcome welcome;
  welcome.message = "welcome, " + name_of(device);
  welcome.protocol = verdict.protocol;
  welcome.features = roster_.devices()[device].paces() ? wire::bit(fb::Feature::pacing) : 0;
  welcome.heartbeat_ms = static_cast<std::uint32_t>(options_.heartbeat.count());
  send_to(roster_.devices()[device].peer, encoder_.welcome(welcome));
  if (roster_.devices()[device].up()) find_connection(device);
}

void Fleet::keep_house() {
  router_->authenticate();
  watch_links();
  const Instant now = clock_.now();
  probe_links(now);
  beat_hearts(now);
  tell_shares(now);
}

void Fleet::watch_links() {
  while (const auto event = router_->next_event()) {
    switch (event->kind) {
      case wire::LinkEvent::Kind::disconnected:
        probes_left_ = kProbes;
        next_probe_ = clock_.now();
        break;
      case wire::LinkEvent::Kind::refused_key:
        log::write_limited(bad_keys_, log::Level::warn, "key_refused",
                           {{"at", event->endpoint},
                            {"hint", "an agent whose .pub is not in the authorised directory"}});
        break;
      case wire::LinkEvent::Kind::bad_handshake:
        log::write_limited(
            bad_keys_, log::Level::warn, "bad_handshake",
            {{"at", event->endpoint}, {"hint", "a peer without CURVE, or no wdmoe-agent"}});
        break;
      case wire::LinkEvent::Kind::connected:
      case wire::LinkEvent::Kind::ready:
      case wire::LinkEvent::Kind::retrying:
        break;
    }
  }
}

/// The monitor does not say whose connection ended: a ping to everyone finds out.
void Fleet::probe_links(Instant now) {
  if (probes_left_ == 0 || now < next_probe_) return;
  --probes_left_;
  next_probe_ = now + kProbeInterval;
  for (std::size_t index = 0; index < roster_.devices().size(); ++index)
    if (roster_.devices()[index].up())
      send_to(roster_.devices()[index].peer, encoder_.ping(++pings_));
}

void Fleet::beat_hearts(Instant now) {
  // We were busy or stopped ourselves: what agents sent meanwhile is still to be read.
  const bool we_paused = now - last_beat_ > options_.heartbeat;
  last_beat_ = now;
  const Nanoseconds patience =
      std::max<Nanoseconds>(kLeastPatience, options_.heartbeat * kSilentHeartbeats);
  for (std::size_t index = 0; index < roster_.devices().size(); ++index) {
    const auto device = static_cast<Index>(index);
    if (!roster_.devices()[index].up()) continue;
    Pulse& pulse = pulses_[index];
    if (we_paused) pulse.heard = std::max(pulse.heard, now - options_.heartbeat);
    if (is_pending(device)) continue;  // it computes; the exchange has its own deadline
    if (now - pulse.heard > patience) {
      drop(device, "silent");
    } else if (now - std::max(pulse.heard, pulse.pinged) > options_.heartbeat) {
      pulse.pinged = now;
      send_to(roster_.devices()[index].peer, encoder_.ping(++pings_));
    }
  }
}

void Fleet::drop(Index device, const char* why) {
  if (!roster_.devices()[device].up()) return;
  if (is_pending(device)) fail_exchange(device, Code::unavailable, std::string("is gone: ") + why);
  roster_.leave(device);
  log::warn("agent_down", {{"agent", name_of(device)}, {"reason", why}, {"missing", missing()}});
  publish_roster();
}

/// A full queue drops the message: only pings, pongs and welcomes go this way, and all are
/// repeated.
void Fleet::send_to(const std::string& peer, Bytes frame) {
  if (router_->send(peer, frame) != wire::Sent::gone) return;
  if (const auto device = roster_.find(peer)) drop(*device, "connection lost");
}

void Fleet::say_goodbye() {
  router_->linger(kGoodbyeLinger);
  for (const Device& device : roster_.devices())
    if (device.up())
      static_cast<void>(router_->send(device.peer, encoder_.goodbye("the base station stops")));
}

void Fleet::publish_roster() {
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.complete = roster_.complete();
  stats_.missing = roster_.missing();
  stats_.agents.resize(roster_.devices().size());
  for (std::size_t index = 0; index < stats_.agents.size(); ++index) {
    const Device& device = roster_.devices()[index];
    AgentSnapshot& agent = stats_.agents[index];
    agent.name = device.hello.name;
    agent.software = device.hello.software;
    agent.backend = device.hello.backend;
    agent.up = device.up();
    if (!agent.up) {
      agent.address.clear();
      agent.priority = 0;
      agent.downlink = agent.uplink = std::nullopt;
    }
    agent.paces = device.paces();
    agent.experts = static_cast<std::uint32_t>(device.hello.experts.size());
    agent.memory_bytes = device.hello.memory_bytes;
    agent.weights_bytes = device.hello.weights_bytes;
  }
}

FleetSnapshot Fleet::snapshot() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

}  // namespace wdmoe::bsd
