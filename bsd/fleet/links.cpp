// What the fleet learns of its agents' links, and tells others of them.

#include "bsd/fleet/fleet.h"

namespace wdmoe::bsd {
namespace {

constexpr milliseconds kWatchWaiting{20};  // as often as a controller looks

}  // namespace

void Fleet::count_load(const Parcels& parcels) {
  const std::lock_guard<std::mutex> lock(estimates_mutex_);
  rows_.assign(roster_.devices().size(), 0);
  for (const Index device : parcels.active) rows_[device] = parcels.of_device[device].rows.size();
  for (std::size_t device = 0; device < rows_.size(); ++device)
    estimates_.of(device).count_load(static_cast<double>(rows_[device]));
}

/// Answers that had waited for us say little of the air: while the base station was busy with
/// another part of the batch, nobody looked.  Nor does the time of one that an agent could begin
/// only after another.
void Fleet::learn(const Exchange& exchange, std::size_t index) {
  const PieceMessage& message = exchange.messages[index];
  const wire::Timings& timings = message.result.timings;
  radio::ExchangeSample sample;
  sample.at_s = in_seconds(message.received_at.time_since_epoch());
  sample.rows = exchange.pieces[index].rows;
  sample.round_trip_s = in_seconds(message.received_at - message.sent_at);
  sample.queue_s = in_seconds(microseconds(timings.queue_us));
  sample.compute_s = in_seconds(microseconds(timings.compute_us));
  sample.bytes_down = static_cast<double>(message.bytes_sent);
  sample.bytes_up = static_cast<double>(message.bytes_received);
  sample.disturbed = !message.undisturbed();
  const std::lock_guard<std::mutex> lock(estimates_mutex_);
  estimates_.of(exchange.pieces[index].device).add(sample);
}

Latencies Fleet::latencies() {
  const std::lock_guard<std::mutex> lock(estimates_mutex_);
  const auto view = estimates_.view(roster_.devices().size());  // only this thread asks for it
  Latencies latencies;
  latencies.fixed_s = view.fixed_s;
  latencies.per_row_s = view.per_row_s;
  return latencies;
}

/// A frame of `device` is in incoming_.
void Fleet::find_connection(Index device) {
  const auto found = connections_.heard(device, incoming_.source);
  if (found == Connections::Found::same) return;
  if (found == Connections::Found::denied)
    log::write_limited(
        no_priority_, log::Level::warn, "priority_denied",
        {{"agent", name_of(device)},
         {"hint", "its traffic takes the default class; give the daemon CAP_NET_ADMIN"}});
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.agents[device].address = connections_.address(device);
  stats_.agents[device].priority = connections_.priority(device);
}

/// What both kernels know of the connection, to the estimator; `result`: of an answer, if one came.
void Fleet::watch_connection(Index device, const wire::ExpertResult* result) {
  const Instant now = clock_.now();
  const auto down = connections_.sample(device, now);
  std::optional<radio::TcpSample> up;
  if (result != nullptr && result->telemetry.uplink)
    up = tcp_sample(*result->telemetry.uplink, now);
  if (!down && !up) return;
  {
    const std::lock_guard<std::mutex> lock(estimates_mutex_);
    radio::DeviceEstimate& estimate = estimates_.of(device);
    if (down) estimate.add(radio::Direction::down, *down);
    if (up) estimate.add(radio::Direction::up, *up);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (down) stats_.agents[device].downlink = down;
  if (up) stats_.agents[device].uplink = up;
}

/// A fall of the rate shows in the connection before the answer that it delays.
void Fleet::watch_waiting(Instant now) {
  if (now < next_watch_) return;
  next_watch_ = now + kWatchWaiting;
  for (std::size_t device = 0; device < roster_.devices().size(); ++device)
    if (is_pending(static_cast<Index>(device)))
      watch_connection(static_cast<Index>(device), nullptr);
}

void Fleet::set_uplinks(std::vector<double> bps) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto of = [](const std::vector<double>& all, std::size_t device) {
    return device < all.size() ? all[device] : 0.0;
  };
  for (std::size_t device = 0; device < stats_.agents.size(); ++device)
    if (of(bps, device) != of(uplinks_, device))
      stats_.agents[device].uplink.reset();  // was reported before: it tells nothing of this
  uplinks_ = std::move(bps);
}

void Fleet::tell_shares(Instant now) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    shares_.set(uplinks_);
  }
  for (std::size_t index = 0; index < roster_.devices().size(); ++index) {
    const Device& device = roster_.devices()[index];
    if (!device.up() || !device.paces()) continue;
    if (const auto share = shares_.due(index, now)) send_to(device.peer, encoder_.share(*share));
  }
}

std::vector<radio::LinkState> Fleet::links() const {
  const std::lock_guard<std::mutex> lock(estimates_mutex_);
  std::vector<radio::LinkState> links;
  for (const radio::DeviceEstimate& device : estimates_.devices()) links.push_back(device.state());
  return links;
}

void Fleet::note(std::size_t device, const radio::StationSample& sample) {
  const std::lock_guard<std::mutex> lock(estimates_mutex_);
  estimates_.of(device).note(sample);
}

void Fleet::note(std::size_t device, const radio::BacklogSample& sample) {
  const std::lock_guard<std::mutex> lock(estimates_mutex_);
  estimates_.of(device).note(sample);
}

void Fleet::set_limits(std::size_t device, double down_bps, double up_bps) {
  const std::lock_guard<std::mutex> lock(estimates_mutex_);
  radio::DeviceEstimate& estimate = estimates_.of(device);
  estimate.set_limit(radio::Direction::down, down_bps);
  estimate.set_limit(radio::Direction::up, up_bps);
}

}  // namespace wdmoe::bsd
