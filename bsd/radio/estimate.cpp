#include "bsd/radio/estimate.h"

#include <algorithm>
#include <cmath>

namespace wdmoe::radio {
namespace {

// Of the exchanges with the fewest rows: low enough to leave out retransmissions and contention,
// high enough that one lucky answer does not set it.
constexpr double kLow = 0.25;
// "Many more rows": at least this factor and this many beyond the fewest.
constexpr std::size_t kManyTimes = 4, kManyRows = 8;
// A fit takes about a microsecond, and a device answers several hundred times a second: after the
// first few samples, one fit for every few of them.
constexpr std::size_t kEager = 16, kEvery = 8;
// A transfer measures a rate when it takes this many times what small ones vary by …
constexpr double kClear = 4;
// … and, where only the kernel's round trip is known to be fixed, also this long: wake-ups and
// copies, which nobody counts, are a small part of it then.
constexpr double kLongTransfer = 0.01;  // s
constexpr double kLeastPart = 0.1;      // of a transfer's time, for either direction
constexpr double kShortest = 1e-9;      // s a row: below, times are rounding errors
constexpr double kSmooth = 0.25;        // of a new residual, in queueing
constexpr double kHeard = 1;            // s that the kernel's round trip stays news

/// The value below which `share` of `values` lies (nearest rank); `values` not empty, reordered.
double quantile(std::vector<double>& values, double share) {
  const auto rank = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return values[static_cast<std::size_t>(rank)];
}

bool is_sound(const ExchangeSample& s) {
  const auto sound = [](double value) { return std::isfinite(value) && value >= 0; };
  return s.rows > 0 && sound(s.round_trip_s) && sound(s.queue_s) && sound(s.compute_s) &&
         sound(s.bytes_down) && sound(s.bytes_up) && std::isfinite(s.at_s);
}

double link_seconds(const ExchangeSample& s) {
  return std::max(0.0, s.round_trip_s - s.queue_s - s.compute_s);
}

bool is_many(std::size_t rows, std::size_t fewest) {
  return rows >= kManyTimes * fewest && rows >= fewest + kManyRows;
}

/// Fits the compute time of samples, not empty.
RowCost fit(const std::vector<const ExchangeSample*>& samples, std::vector<double>& values) {
  std::size_t fewest = samples.front()->rows;
  for (const ExchangeSample* s : samples) fewest = std::min(fewest, s->rows);
  values.clear();
  double rows = 0;
  for (const ExchangeSample* s : samples) {
    if (is_many(s->rows, fewest)) continue;
    values.push_back(s->compute_s);
    rows += static_cast<double>(s->rows);
  }
  rows /= static_cast<double>(values.size());
  const double anchor = quantile(values, 0.5);  // of `rows` rows
  values.clear();
  for (const ExchangeSample* s : samples)
    if (is_many(s->rows, fewest))
      values.push_back((s->compute_s - anchor) / (static_cast<double>(s->rows) - rows));
  RowCost cost;
  if (!values.empty()) cost.per_row_s = std::max(0.0, quantile(values, 0.5));
  // The few rows of the anchor have their share in it; a steep slope must not make it negative.
  cost.per_row_s = std::min(cost.per_row_s, anchor / rows);
  cost.fixed_s = std::max(0.0, anchor - cost.per_row_s * rows);
  return cost;
}

}  // namespace

bool DeviceEstimate::is_large(const ExchangeSample& s) const {
  return is_many(s.rows, anchor_.fewest);
}

void DeviceEstimate::add(const ExchangeSample& sample) {
  if (!is_sound(sample)) return;
  if (samples_.size() < kWindow) {
    samples_.reserve(kWindow);
    recent_.reserve(kWindow);
    values_.reserve(kWindow);
    queues_.reserve(kWindow);
    samples_.push_back(sample);
  } else {
    samples_[next_] = sample;
  }
  next_ = (next_ + 1) % kWindow;
  learn_link(sample);
  if (samples_.size() < kEager || ++unlearned_ == kEvery) learn(sample.at_s);
}

void DeviceEstimate::add(Direction direction, const TcpSample& sample) {
  if (!of(direction).add(sample, base_rtt_.value())) return;
  base_rtt_.add(sample.at_s, sample.min_rtt_s > 0 ? sample.min_rtt_s : sample.rtt_s);
  if (direction == Direction::up || !(sample.rtt_s > 0)) return;
  kernel_queueing_s_ = std::max(0.0, sample.rtt_s - base_rtt_.value());
  kernel_heard_s_ = sample.at_s;
}

void DeviceEstimate::learn(double now_s) {
  unlearned_ = 0;
  recent_.clear();
  for (const ExchangeSample& sample : samples_)
    if (now_s - sample.at_s <= kForget) recent_.push_back(&sample);
  learn_compute();
  learn_anchor();
}

void DeviceEstimate::learn_compute() {
  state_.compute = fit(recent_, values_);
  values_.clear();
  for (const ExchangeSample* s : recent_)
    values_.push_back(s->compute_s - state_.compute.fixed_s -
                      state_.compute.per_row_s * static_cast<double>(s->rows));
  const double low = quantile(values_, 0.25);
  state_.compute_spread_s = quantile(values_, 0.75) - low;
}

/// What is quick among the exchanges with the fewest rows.
void DeviceEstimate::learn_anchor() {
  Anchor anchor;
  for (const ExchangeSample* s : recent_)
    if (!s->disturbed && (anchor.fewest == 0 || s->rows < anchor.fewest)) anchor.fewest = s->rows;
  if (anchor.fewest == 0) return;
  if (anchor.fewest != anchor_.fewest) small_ = RecentMedian(5);  // it held times of another size
  anchor_.fewest = anchor.fewest;
  values_.clear();
  queues_.clear();
  for (const ExchangeSample* s : recent_) {
    if (s->disturbed) continue;
    queues_.push_back(s->queue_s);
    if (is_large(*s)) continue;
    values_.push_back(link_seconds(*s));
    if (!small_.known()) small_.add(s->at_s, std::max(kShortest, link_seconds(*s)));
    anchor.rows += static_cast<double>(s->rows);
    anchor.bytes_down += s->bytes_down;
    anchor.bytes_up += s->bytes_up;
  }
  const auto count = static_cast<double>(values_.size());
  anchor.rows /= count;
  anchor.bytes_down /= count;
  anchor.bytes_up /= count;
  anchor.spread_s = quantile(values_, 0.75);
  anchor.seconds = quantile(values_, kLow);
  anchor.spread_s -= anchor.seconds;
  anchor_ = anchor;
  state_.agent_queue_s = quantile(queues_, 0.5);
  state_.known = true;
  settle_link();
}

/// One exchange against what is known so far.
void DeviceEstimate::learn_link(const ExchangeSample& s) {
  const double seconds = link_seconds(s);
  // The whole message went over in at most this time, whatever else went on.
  down_.add_at_least(s.at_s, s.bytes_down * 8 / seconds);
  up_.add_at_least(s.at_s, s.bytes_up * 8 / seconds);
  if (s.disturbed || anchor_.fewest == 0) return;
  const double rows = static_cast<double>(s.rows);
  queueing_s_ +=
      kSmooth *
      (std::max(0.0, seconds - anchor_.seconds - per_row_.value() * (rows - anchor_.rows)) -
       queueing_s_);
  const double clear = kClear * anchor_.spread_s;
  if (is_large(s)) {
    const double beyond = seconds - anchor_.seconds;
    per_row_.add(s.at_s, std::max(kShortest, beyond / (rows - anchor_.rows)));
    if (beyond > clear)
      divide({s.at_s, beyond, s.bytes_down - anchor_.bytes_down, s.bytes_up - anchor_.bytes_up});
  } else {
    small_.add(s.at_s, std::max(kShortest, seconds));
    // All of them must take long: a late one now and then is no evidence of a slow link.
    const double base = base_rtt_.value();
    if (base > 0 && std::min(seconds, small_.value()) - base > std::max(clear, kLongTransfer))
      divide({s.at_s, seconds - base, s.bytes_down, s.bytes_up});
  }
  settle_link();
}

void DeviceEstimate::settle_link() {
  state_.link.per_row_s = per_row_.value();
  state_.link.fixed_s = std::max(0.0, small_.value() - per_row_.value() * anchor_.rows);
}

/// What one transfer of both directions says of each.
void DeviceEstimate::divide(const Transfer& transfer) {
  const double bits_down = transfer.bytes_down * 8, bits_up = transfer.bytes_up * 8;
  if (!(bits_down > 0 && bits_up > 0)) return;
  const bool knows_down = down_.kernel_measures(transfer.at_s);
  const bool knows_up = up_.kernel_measures(transfer.at_s);
  if (knows_down && knows_up) return;
  const double known_down = down_.rate_bps(), known_up = up_.rate_bps();
  double down_s = transfer.seconds * bits_down / (bits_down + bits_up);
  if (known_down > 0 && known_up > 0) {
    const double down = bits_down / known_down, up = bits_up / known_up;
    down_s = transfer.seconds * down / (down + up);
  }
  // The kernel's figure for one direction leaves the rest to the other, if there is any rest.
  const double least = transfer.seconds * kLeastPart;
  if (knows_down) down_s = std::min(bits_down / known_down, transfer.seconds - least);
  if (knows_up) down_s = std::max(transfer.seconds - bits_up / known_up, least);
  if (!knows_down) down_.add_measured(transfer.at_s, bits_down / down_s);
  if (!knows_up) up_.add_measured(transfer.at_s, bits_up / (transfer.seconds - down_s));
}

LinkState DeviceEstimate::state() const {
  LinkState state = state_;
  state.down = down_.state();
  state.up = up_.state();
  state.base_rtt_s = base_rtt_.known() ? base_rtt_.value() : state_.link.fixed_s;
  const double newest =
      samples_.empty() ? 0 : samples_[(next_ + samples_.size() - 1) % samples_.size()].at_s;
  state.queueing_s = newest - kernel_heard_s_ <= kHeard ? kernel_queueing_s_ : queueing_s_;
  return state;
}

DeviceEstimate& Estimates::of(std::size_t device) {
  if (device >= devices_.size()) devices_.resize(device + 1);
  return devices_[device];
}

Estimates::View Estimates::view(std::size_t devices) {
  fixed_.resize(devices);
  per_row_.resize(devices);
  const auto known = [this](std::size_t device) {
    return device < devices_.size() && devices_[device].known();
  };
  const auto fill = [&](std::vector<double>& out, double RowCost::*part) {
    known_.clear();
    for (std::size_t device = 0; device < devices; ++device)
      if (known(device)) known_.push_back(devices_[device].total().*part);
    if (known_.empty()) return false;
    const double neutral = quantile(known_, 0.5);
    for (std::size_t device = 0; device < devices; ++device)
      out[device] = known(device) ? devices_[device].total().*part : neutral;
    return true;
  };
  if (!fill(fixed_, &RowCost::fixed_s) || !fill(per_row_, &RowCost::per_row_s)) return {};
  return {{fixed_.data(), devices}, {per_row_.data(), devices}};
}

}  // namespace wdmoe::radio
