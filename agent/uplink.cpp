#include "agent/uplink.h"

#include <algorithm>
#include <limits>

namespace wdmoe::agent {
namespace {

std::uint32_t clamped(double value) {
  return static_cast<std::uint32_t>(
      std::clamp(value, 0.0, double{std::numeric_limits<std::uint32_t>::max()}));
}

std::uint32_t kbps(BitsPerSecond rate) {
  return clamped(rate.value() / 1e3);
}

std::uint32_t micros(microseconds duration) {
  return clamped(static_cast<double>(duration.count()));
}

}  // namespace

void Uplink::heard(const wire::Source& source) {
  if (connection_ && connection_->is(source)) return;
  connection_ = wire::Connection::find(source);
  if (rate_.value() > 0) apply();
}

void Uplink::told(const wire::Share& share, Instant now) {
  const BitsPerSecond rate(1e3 * share.uplink_kbps);
  const bool paced = rate.value() > 0 && share.lifetime_ms > 0;
  until_ = paced ? now + milliseconds(share.lifetime_ms) : Instant::max();
  const BitsPerSecond wanted = paced ? std::max(rate, kLeast) : BitsPerSecond(0);
  if (wanted == rate_) return;
  rate_ = wanted;
  apply();
}

void Uplink::keep(Instant now) {
  if (now >= until_) told({}, now);
}

std::optional<wire::Uplink> Uplink::report(Instant now) {
  if (!connection_ || now < next_report_) return std::nullopt;
  const auto info = connection_->info();
  const auto pacing = connection_->pacing();
  if (!info || !pacing) return std::nullopt;
  next_report_ = now + kReportEvery;
  wire::Uplink report;
  report.acked_bytes = info->acked_bytes;
  report.busy_us = static_cast<std::uint64_t>(info->busy.count());
  report.delivery_kbps = kbps(info->delivery);
  report.pacing_kbps = kbps(*pacing);
  report.rtt_us = micros(info->rtt);
  report.min_rtt_us = micros(info->min_rtt);
  report.outstanding_bytes = clamped(static_cast<double>(info->outstanding_bytes));
  report.segments = clamped(static_cast<double>(info->segments));
  report.retransmitted = clamped(static_cast<double>(info->retransmitted));
  report.app_limited = info->app_limited;
  return report;
}

/// A refusal shows in the next report, which has what is really set.
void Uplink::apply() {
  if (connection_) static_cast<void>(connection_->pace(rate_));
}

}  // namespace wdmoe::agent
