// Fleet::exchange: one layer's rows out to the devices that were chosen, and their sums back.

#include <algorithm>
#include <cstring>
#include <numeric>

#include <sched.h>

#include "bsd/fleet/fleet.h"
#include "common/check.h"
#include "kernels/ops.h"

namespace wdmoe::bsd {
namespace {

constexpr int kBadAnswers = 3;        // in a row: its memory or kernels are broken, not one input
constexpr milliseconds kBan{30'000};  // then someone else has its experts, if anyone
constexpr milliseconds kLookAround{50};  // housekeeping and signs of life while a layer waits

/// to[i] += from[i]; false if any of `from` is infinite or no number.
bool add_finite(const float* from, std::size_t count, float* to) {
  std::uint32_t worst = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &from[i], sizeof bits);
    worst = std::max(worst, bits & 0x7f800000u);
    to[i] += from[i];
  }
  return worst != 0x7f800000u;
}

}  // namespace

Result<void> Fleet::begin(std::size_t layer, const Selection& selection, Matrix<const float> x,
                          Matrix<float> y, StepCosts& costs) {
  WDMOE_CHECK(x.rows == y.rows && x.cols == model_.hidden && y.cols == model_.hidden);
  WDMOE_CHECK(layer < model_.layers);
  WDMOE_CHECK(count_ < exchanges_.size() && !error_);
  Exchange& exchange = under_way(count_++);
  exchange.layer = layer;
  exchange.y = y;
  exchange.combined = 0;
  WDMOE_TRY(cut_by_device(selection, roster_.devices().size(), exchange.parcels));
  count_load(exchange.parcels);
  for (std::size_t row = 0; row < y.rows; ++row) std::fill_n(y.row(row), y.cols, 0.0f);
  return send_all(exchange, x, costs);
}

Result<void> Fleet::finish(StepCosts& costs) {
  WDMOE_CHECK(count_ > 0);
  Exchange& exchange = under_way(0);
  gather(exchange, costs);
  if (error_) return tl::unexpected<Error>(*error_);
  last_wait_.response = response_of(exchange);
  exchange.clear();
  oldest_ = (oldest_ + 1) % exchanges_.size();
  --count_;
  return {};
}

/// Waiting::response of a complete exchange.
Nanoseconds Fleet::response_of(const Exchange& exchange) {
  Nanoseconds last{0};
  for (std::size_t index = 0; index < exchange.pieces.size(); ++index) {
    const PieceMessage& message = exchange.messages[index];
    if (!message.undisturbed()) return Nanoseconds{0};
    last = std::max<Nanoseconds>(last, message.received_at - exchange.began);
  }
  return last;
}

void Fleet::abandon() {
  for (Exchange& exchange : exchanges_) exchange.clear();
  count_ = 0;
  error_.reset();
}

/// Until `exchange`, the oldest, is complete or error_ is set.  What comes for the other is kept
/// and added, too.
void Fleet::gather(Exchange& exchange, StepCosts& costs) {
  const Instant started = clock_.now();
  const Instant deadline = started + options_.deadline;
  Nanoseconds combining{0};
  looked_ = false;
  while (!error_ && !exchange.complete()) {
    if (receive_spinning()) {
      const Instant received = clock_.now();
      const std::size_t bytes = incoming_.frame.bytes().size();
      take_message();
      for (std::size_t i = 0; i < count_; ++i) combine_ready(under_way(i));
      if (!error_)
        if (const auto sent = send_waiting(costs); !sent) error_ = sent.error();
      costs.bytes_received += bytes;
      combining += clock_.now() - received;
    } else if (sleep(std::min({deadline, next_house_, next_watch_}), {}).house) {
      next_house_ = clock_.now();
    }
    look_around(exchange, deadline);
  }
  costs.combine += combining;
  last_wait_.blocked = clock_.now() - started - combining;
  costs.wire_wait += last_wait_.blocked;
  if (error_ && error_->code == Code::timeout)
    for (const Index device : exchange.parcels.active)  // it hangs: no work until its next Hello
      if (exchange.waits_for(device)) drop(device, "no answer");
}

/// After every frame and every sleep, so that a peer that never pauses suspends nothing.
void Fleet::look_around(const Exchange& exchange, Instant deadline) {
  const Instant now = clock_.now();
  watch_waiting(now);
  if (now >= next_house_ || (probes_left_ > 0 && now >= next_probe_)) {
    next_house_ = now + kLookAround;
    keep_house();
    if (!options_.turning() && !error_)
      error_ = Error{Code::cancelled, "the base station is stopping"};
  }
  if (!error_ && now >= deadline && !exchange.complete()) error_ = timed_out(exchange);
}

/// A frame into incoming_; looks again and again for a while, giving the core away between looks,
/// because an answer often comes within the time that a sleep and a wake-up would cost.
bool Fleet::receive_spinning() {
  if (router_->receive(incoming_)) return true;
  looked_ = true;
  const Instant until = clock_.now() + options_.spin;
  while (clock_.now() < until) {
    ::sched_yield();
    if (router_->receive(incoming_)) return true;
  }
  return false;
}

bool Fleet::is_pending(Index device) const {
  return std::any_of(exchanges_.begin(), exchanges_.end(),
                     [&](const Exchange& exchange) { return exchange.waits_for(device); });
}

Error Fleet::timed_out(const Exchange& exchange) const {
  std::string names;
  for (const Index device : exchange.parcels.active)
    if (exchange.waits_for(device)) names += (names.empty() ? "" : ", ") + name_of(device);
  return {Code::timeout, "no answer within " + std::to_string(options_.deadline.count()) +
                             " ms for layer " + std::to_string(exchange.layer) + " from agent " +
                             names};
}

/// What `result` answers; a refusal without an id is taken for the oldest message under way.
Fleet::Asked Fleet::asked_by(Index device, const wire::ExpertResult& result) {
  for (std::size_t i = 0; i < count_; ++i) {
    Exchange& exchange = under_way(i);
    for (std::size_t index = 0; index < exchange.pieces.size(); ++index) {
      const PieceMessage& message = exchange.messages[index];
      if (exchange.pieces[index].device != device || !message.under_way()) continue;
      if (result.id == message.id || (result.id == 0 && result.status != wire::Status::ok))
        return {&exchange, index};
    }
  }
  return {};
}

void Fleet::take_answer(Index device, const wire::ExpertResult& result) {
  const auto [exchange, index] = asked_by(device, result);
  if (exchange == nullptr) {  // of a step that was given up
    const std::lock_guard<std::mutex> lock(mutex_);
    ++stats_.agents[device].late;
    return;
  }
  if (result.status != wire::Status::ok) {
    fail_exchange(device, Code::unavailable,
                  "refused: " + std::string(wire::name_of(result.status)) + ": " +
                      std::string(result.message));
    if (result.status == wire::Status::not_ready) drop(device, "not ready");
    return;
  }
  if (result.rows.rows != exchange->pieces[index].rows || result.rows.cols != model_.hidden)
    return blame(device, "answered with rows of another shape");
  watch_connection(device, &result);
  PieceMessage& message = exchange->messages[index];
  message.answered = true;
  message.awaited = looked_;
  message.received_at = clock_.now();
  message.bytes_received = incoming_.frame.bytes().size();
  message.result = result;
  std::swap(message.frame, incoming_.frame);  // the views move along with their memory
}

/// A bad answer.  One may be the input's fault; after several the agent is out, and the step is
/// worth another try.
void Fleet::blame(Index device, const std::string& why) {
  Pulse& pulse = pulses_[device];
  const bool out = ++pulse.bad_answers >= kBadAnswers;
  fail_exchange(device, out ? Code::unavailable : Code::bad_input, why);
  if (!out) return;
  pulse.bad_answers = 0;
  pulse.banned_until = clock_.now() + kBan;
  drop(device, "bad answers");
}

void Fleet::count_answer(const Exchange& exchange, std::size_t index) {
  const PieceMessage& message = exchange.messages[index];
  const wire::Timings& timings = message.result.timings;
  const std::lock_guard<std::mutex> lock(mutex_);
  AgentSnapshot& agent = stats_.agents[exchange.pieces[index].device];
  ++agent.dispatches;
  agent.rows += exchange.pieces[index].rows;
  agent.assignments += message.assignments;
  agent.queue += microseconds(timings.queue_us);
  agent.compute += microseconds(timings.compute_us);
  agent.total += microseconds(timings.total_us);
  agent.round_trip += message.received_at - message.sent_at;
  agent.health = message.result.telemetry.health;
}

/// Adds answers in the order of the devices, whatever the order of their arrival, so that the sum
/// is the same each time.
void Fleet::combine_ready(Exchange& exchange) {
  while (!error_ && !exchange.complete()) {
    const std::size_t index = exchange.combined;
    if (!exchange.messages[index].answered) return;
    const Index device = exchange.pieces[index].device;
    if (!add_answer(exchange, index))
      return blame(device, "answered with values that are not finite");
    pulses_[device].bad_answers = 0;
    count_answer(exchange, index);
    learn(exchange, index);
    ++exchange.combined;
  }
}

bool Fleet::add_answer(const Exchange& exchange, std::size_t index) {
  const Tensor& rows = exchange.messages[index].result.rows;
  if (scratch_.size() < rows.rows * rows.cols) scratch_.resize(rows.rows * rows.cols);
  const Matrix<float> answer(scratch_.data(), rows.rows, rows.cols);
  kernels::from_wire(rows, answer);
  bool finite = true;
  const Piece& piece = exchange.pieces[index];
  const auto& to = exchange.parcels.of_device[piece.device].rows;
  for (std::size_t i = 0; i < rows.rows; ++i)
    finite = add_finite(answer.row(i), rows.cols, exchange.y.row(to[piece.first + i])) && finite;
  return finite;
}

/// Counts once per fault: whatever this device still sends for what is under way is late.
void Fleet::fail_exchange(Index device, Code code, const std::string& why) {
  if (!error_) error_ = Error{code, "agent " + name_of(device) + " " + why};
  for (Exchange& exchange : exchanges_)
    for (std::size_t index = 0; index < exchange.pieces.size(); ++index)
      if (exchange.pieces[index].device == device) exchange.messages[index].id = 0;
  const std::lock_guard<std::mutex> lock(mutex_);
  ++stats_.agents[device].failures;
}

}  // namespace wdmoe::bsd
