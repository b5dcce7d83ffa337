#include "bsd/radio/rate.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::radio {
namespace {

// A transfer at this part of a limit of our own, or above, may be the limit's doing or the link's.
constexpr double kNearLimit = 0.85;
// Where what passes, smoothed, is this much of the limit, the limit holds back: the estimate grows,
// or it would be caught behind its own limit for ever.  Else the link does, and the estimate keeps
// a little above it, so that the limit (95 % of it) does not begin to.
constexpr double kHoldsBack = 0.98, kHeadroom = 1.05;
constexpr double kGrowth = 1.015, kDecline = 0.99;  // most, per …
constexpr double kNudgeInterval = 0.02;             // s
constexpr double kSmooth = 0.2;                     // of a new transfer
// An interval of acknowledgements counts when it is long against the round trip (the first bytes of
// a burst are acknowledged one round trip late) and holds enough segments that one more or less
// makes no difference.
constexpr double kRoundTrips = 4;
constexpr double kLeastInterval = 0.04;   // s
constexpr double kLeastBytes = 6 * 1448;  // full segments
constexpr double kQueueGrows = 1.25;
constexpr double kFade = 1000;  // data segments that the share of retransmissions recalls

/// Data that only the congestion window holds back (after every pause it begins small) is sent
/// slower than the link could.  Where the link holds back, a queue builds, and round trips grow.
bool fills_queue(const TcpSample& s) {
  return s.min_rtt_s > 0 && s.rtt_s > kQueueGrows * s.min_rtt_s;
}

bool is_sound(const TcpSample& s) {
  const auto sound = [](double value) { return std::isfinite(value) && value >= 0; };
  return std::isfinite(s.at_s) && sound(s.delivery_bps) && sound(s.rtt_s) && sound(s.min_rtt_s) &&
         sound(s.pacing_bps);
}

}  // namespace

void DirectionEstimate::add_measured(double at_s, double bps) {
  if (!(std::isfinite(bps) && bps > 0)) return;
  const bool limited = limit_bps_ > 0 && rates_.known() && bps >= kNearLimit * limit_bps_;
  if (!limited) {
    rates_.add(at_s, bps);
    passing_ = 0;
  } else {
    const double part = bps / limit_bps_;
    passing_ += (passing_ > 0 ? kSmooth : 1) * (part - passing_);
    if (at_s - nudged_s_ >= kNudgeInterval) {
      nudged_s_ = at_s;
      const double now = rates_.value();
      const double wanted =
          passing_ >= kHoldsBack ? kGrowth * now : kHeadroom * passing_ * limit_bps_;
      rates_.set(at_s, std::clamp(wanted, kDecline * now, kGrowth * now));
    }
  }
  measured_ = true;
  updated_s_ = at_s;
}

void DirectionEstimate::add_at_least(double at_s, double bps) {
  if (!(std::isfinite(bps) && bps > rates_.value())) return;
  rates_.at_least(at_s, bps);
  updated_s_ = at_s;
}

bool DirectionEstimate::add(const TcpSample& sample, double base_rtt_s) {
  if (!is_sound(sample)) return false;
  const bool continues = last_ && sample.at_s >= last_->at_s &&
                         sample.bytes_acked >= last_->bytes_acked &&
                         sample.segments >= last_->segments;
  if (!continues) mark_.reset();  // another connection
  if (continues) count_retransmissions(sample, *last_);

  // The kernel keeps its last figure: only a new one says something of now.
  const bool fresh =
      sample.delivery_bps > 0 && (!continues || sample.delivery_bps != last_->delivery_bps);
  const std::optional<double> drained = drained_bps(sample, base_rtt_s);
  if (fresh && !sample.app_limited && fills_queue(sample)) {
    add_measured(sample.at_s, sample.delivery_bps);
    kernel_measured_s_ = sample.at_s;
  } else if (drained) {
    add_measured(sample.at_s, *drained);
    kernel_measured_s_ = sample.at_s;
  } else if (fresh) {
    add_at_least(sample.at_s, sample.delivery_bps);
  }
  last_ = sample;
  return true;
}

/// Rate of acknowledgement over an interval throughout which the sender had something to send:
/// what was acknowledged in it had been handed over before it began.
std::optional<double> DirectionEstimate::drained_bps(const TcpSample& sample, double base_rtt_s) {
  std::optional<double> rate;
  if (mark_) {
    const double bytes = static_cast<double>(sample.bytes_acked - mark_->bytes_acked);
    const double seconds = sample.at_s - mark_->at_s;
    if (bytes >= static_cast<double>(mark_->unacked)) {
      mark_.reset();  // all was gone some time ago, perhaps before a pause
    } else if (bytes >= kLeastBytes && seconds >= kLeastInterval &&
               seconds >= kRoundTrips * base_rtt_s) {
      rate = bytes * 8 / seconds;
      mark_.reset();
    }
  }
  if (sample.unacked == 0)
    mark_.reset();
  else if (!mark_)
    mark_ = sample;
  return rate;
}

void DirectionEstimate::count_retransmissions(const TcpSample& sample, const TcpSample& before) {
  const auto grown = [](std::uint64_t now, std::uint64_t then) {
    return now > then ? static_cast<double>(now - then) : 0.0;
  };
  const double sent = grown(sample.segments, before.segments);
  const double keep = std::exp(-sent / kFade);
  segments_ = segments_ * keep + sent;
  retransmitted_ = retransmitted_ * keep + grown(sample.retransmitted, before.retransmitted);
}

DirectionState DirectionEstimate::state() const {
  DirectionState state;
  state.rate_bps = rates_.value();
  state.measured = measured_;
  state.updated_s = updated_s_;
  if (segments_ > 0) state.retransmission = std::min(1.0, retransmitted_ / segments_);
  return state;
}

}  // namespace wdmoe::radio
