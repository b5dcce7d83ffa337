#include "bsd/fleet/connections.h"

namespace wdmoe::bsd {

radio::TcpSample tcp_sample(const wire::TcpInfo& info, BitsPerSecond pacing, Instant now) {
  radio::TcpSample sample;
  sample.at_s = in_seconds(now.time_since_epoch());
  sample.delivery_bps = info.delivery.value();
  sample.app_limited = info.app_limited;
  sample.rtt_s = in_seconds(info.rtt);
  sample.min_rtt_s = in_seconds(info.min_rtt);
  sample.unacked = info.outstanding_bytes;
  sample.bytes_acked = info.acked_bytes;
  sample.segments = info.segments;
  sample.retransmitted = info.retransmitted;
  sample.pacing_bps = pacing.value();
  return sample;
}

radio::TcpSample tcp_sample(const wire::Uplink& report, Instant now) {
  radio::TcpSample sample;
  sample.at_s = in_seconds(now.time_since_epoch());
  sample.delivery_bps = 1e3 * report.delivery_kbps;
  sample.app_limited = report.app_limited;
  sample.rtt_s = in_seconds(microseconds(report.rtt_us));
  sample.min_rtt_s = in_seconds(microseconds(report.min_rtt_us));
  sample.unacked = report.outstanding_bytes;
  sample.bytes_acked = report.acked_bytes;
  sample.segments = report.segments;
  sample.retransmitted = report.retransmitted;
  sample.pacing_bps = 1e3 * report.pacing_kbps;
  return sample;
}

Connections::Found Connections::heard(std::size_t device, const wire::Source& source) {
  if (device >= ends_.size()) ends_.resize(device + 1);
  End& end = ends_[device];
  const bool same = end.connection ? end.connection->is(source)
                                   : end.source.fd == source.fd && source.address.empty();
  if (same) return Found::same;
  end.source = source;
  end.connection = wire::Connection::find(source);
  end.next_sample = {};
  if (!end.connection || !priority_of_) return Found::fresh;
  return end.connection->set_priority(priority_of_(device)) ? Found::fresh : Found::denied;
}

std::string Connections::address(std::size_t device) const {
  if (device >= ends_.size() || !ends_[device].connection) return {};
  return ends_[device].connection->address();
}

std::uint32_t Connections::priority(std::size_t device) const {
  if (device >= ends_.size() || !ends_[device].connection) return 0;
  return ends_[device].connection->priority().value_or(0);
}

std::optional<radio::TcpSample> Connections::sample(std::size_t device, Instant now) {
  if (device >= ends_.size()) return std::nullopt;
  End& end = ends_[device];
  if (!end.connection || now < end.next_sample) return std::nullopt;
  const auto info = end.connection->info();
  const auto pacing = end.connection->pacing();
  if (!info || !pacing) return std::nullopt;
  end.next_sample = now + kSampleEvery;
  return tcp_sample(*info, *pacing, now);
}

}  // namespace wdmoe::bsd
