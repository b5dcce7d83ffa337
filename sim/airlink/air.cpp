#include "sim/airlink/air.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/check.h"
#include "sim/random.h"

namespace wdmoe::airlink {

Air::Air(std::vector<Flow> flows, bool shared, std::uint64_t seed) {
  WDMOE_CHECK(!flows.empty());
  for (const Flow& flow : flows) {
    FlowState& state = flows_.emplace_back();
    state.is = flow;
    state.random = sim::random_stream(seed, sim::Stream::air, flows_.size());
  }
  const std::size_t flows_each = shared ? flows_.size() : 1;
  for (std::size_t first = 0; first < flows_.size(); first += flows_each) {
    Server& server = servers_.emplace_back();
    server.first = first;
    server.last = first + flows_each;
  }
}

void Air::change(std::size_t flow, const Flow& now_is, Nanoseconds now) {
  advance(now);
  Server& server = server_of(flow);
  settle(server, now);
  flows_[flow].is = now_is;
  pick(server, now);
}

bool Air::offer(std::size_t flow, std::vector<std::byte> bytes, Nanoseconds now) {
  advance(now);
  FlowState& state = flows_[flow];
  ++state.counts.packets_offered;
  state.counts.bytes_offered += bytes.size();
  if (!state.queue.empty() && state.queued_bytes + bytes.size() > state.is.queue_bytes) {
    ++state.counts.dropped;
    return false;
  }
  Server& server = server_of(flow);
  if (state.queue.empty()) {
    state.left_bits = 8.0 * static_cast<double>(bytes.size());
    state.pass_s = std::max(state.pass_s, server.pass_s);
  }
  state.queued_bytes += bytes.size();
  state.queue.push_back({now, std::move(bytes)});
  if (!server.flow) pick(server, now);
  return true;
}

Nanoseconds Air::next() const {
  Nanoseconds soonest = kNever;
  for (const Server& server : servers_) soonest = std::min(soonest, server.ends);
  for (const FlowState& flow : flows_)
    if (!flow.on_way.empty()) soonest = std::min(soonest, flow.on_way.front().due);
  return soonest;
}

std::optional<Arrival> Air::take(Nanoseconds now) {
  advance(now);
  FlowState* first = nullptr;
  for (FlowState& flow : flows_) {
    if (flow.on_way.empty() || flow.on_way.front().due > now) continue;
    if (first == nullptr || flow.on_way.front().due < first->on_way.front().due) first = &flow;
  }
  if (first == nullptr) return std::nullopt;
  Arrival arrival = std::move(first->on_way.front());
  first->on_way.pop_front();
  ++first->counts.packets_delivered;
  first->counts.bytes_delivered += arrival.bytes.size();
  return arrival;
}

/// Every transmission that ends by `now`, each followed by the next one at the very instant at
/// which it ended: a caller that comes late loses no capacity.
void Air::advance(Nanoseconds now) {
  for (Server& server : servers_) {
    while (server.ends <= now) {  // bounded by the packets in its queues
      finish(server);
      pick(server, server.since);
    }
  }
}

/// What has been sent by `now` of the packet under way, which is then nobody's turn any more.
void Air::settle(Server& server, Nanoseconds now) {
  if (!server.flow) return;
  FlowState& flow = flows_[*server.flow];
  const double elapsed = in_seconds(now - server.since);
  flow.left_bits = std::max(0.0, flow.left_bits - elapsed * flow.is.rate.value());
  flow.pass_s += elapsed;
  flow.counts.airtime_s += elapsed;
  server.since = now;
}

/// Goes on with the packet under way, or gives the turn to the flow with the least airtime.
void Air::pick(Server& server, Nanoseconds now) {
  const auto ready = [&](std::size_t flow) {
    return !flows_[flow].queue.empty() && flows_[flow].is.rate.value() > 0;
  };
  if (server.flow && !ready(*server.flow)) server.flow.reset();
  if (!server.flow) {
    for (std::size_t flow = server.first; flow < server.last; ++flow)
      if (ready(flow) && (!server.flow || flows_[flow].pass_s < flows_[*server.flow].pass_s))
        server.flow = flow;
    if (server.flow) server.pass_s = flows_[*server.flow].pass_s;
  }
  server.since = now;
  server.ends = kNever;
  if (!server.flow) return;
  const FlowState& flow = flows_[*server.flow];
  const double seconds = flow.left_bits / flow.is.rate.value();
  constexpr double kLongest_s = 1e9;  // a rate near 0: beyond any run, and finite in nanoseconds
  server.ends = now + Nanoseconds(std::llround(1e9 * std::min(seconds, kLongest_s)));
}

void Air::finish(Server& server) {
  FlowState& flow = flows_[*server.flow];
  settle(server, server.ends);
  Waiting sent = std::move(flow.queue.front());
  flow.queue.pop_front();
  flow.queued_bytes -= sent.bytes.size();
  if (!flow.queue.empty())
    flow.left_bits = 8.0 * static_cast<double>(flow.queue.front().bytes.size());
  server.flow.reset();
  if (std::uniform_real_distribution<double>()(flow.random) < flow.is.loss) {
    ++flow.counts.lost;
    return;
  }
  double travel = static_cast<double>(flow.is.delay.count());
  if (flow.is.jitter.count() > 0)
    travel += static_cast<double>(flow.is.jitter.count()) * flow.normal(flow.random);
  const Nanoseconds due =
      std::max(flow.last_due, server.since + Nanoseconds(std::llround(std::max(0.0, travel))));
  flow.last_due = due;
  flow.counts.delay.add(due - sent.offered);
  flow.on_way.push_back(
      {static_cast<std::size_t>(&flow - flows_.data()), due, std::move(sent.bytes)});
}

}  // namespace wdmoe::airlink
