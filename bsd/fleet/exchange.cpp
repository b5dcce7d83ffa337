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

/// Rows `rows` of x into the outgoing frame; false if a finite value does not fit f16.
bool gather_rows(Matrix<const float> x, Span<const std::uint32_t> rows, MutableTensor out) {
  bool fits = true;
  for (std::size_t i = 0; i < rows.size(); ++i)
    fits = kernels::to_wire(x.slice_rows(rows[i], 1), {out.row(i), out.dtype, 1, out.cols}) && fits;
  return fits;
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
  for (Pending& pending : exchange.pending) pending.id = 0;
  oldest_ = (oldest_ + 1) % exchanges_.size();
  --count_;
  return {};
}

/// Waiting::response of a complete exchange.
Nanoseconds Fleet::response_of(const Exchange& exchange) {
  Nanoseconds last{0};
  for (const Index device : exchange.parcels.active) {
    const Pending& pending = exchange.pending[device];
    if (!pending.undisturbed()) return Nanoseconds{0};
    last = std::max<Nanoseconds>(last, pending.received - exchange.began);
  }
  return last;
}

void Fleet::abandon() {
  for (Exchange& exchange : exchanges_)
    for (Pending& pending : exchange.pending) pending.id = 0;
  count_ = 0;
  error_.reset();
}

Result<void> Fleet::send_all(Exchange& exchange, Matrix<const float> x, StepCosts& costs) {
  const Instant started = exchange.began = clock_.now();
  const Parcels& parcels = exchange.parcels;
  // The largest parcel takes longest out there: it goes first.
  send_order_.assign(parcels.active.begin(), parcels.active.end());
  std::sort(send_order_.begin(), send_order_.end(), [&](Index a, Index b) {
    const auto rows = [&](Index device) { return parcels.of_device[device].rows.size(); };
    return rows(a) != rows(b) ? rows(a) > rows(b) : a < b;
  });
  for (const Index device : send_order_) {
    const Device& to = roster_.devices()[device];
    if (!to.up()) return fail(Code::unavailable, "agent " + to.hello.name + " is down");
    const std::size_t rows = parcels.of_device[device].rows.size();
    if (rows > to.hello.max_rows)
      return fail(Code::limit, "agent " + to.hello.name + " takes at most " +
                                   std::to_string(to.hello.max_rows) + " rows a message, not " +
                                   std::to_string(rows) + ": lower prefill_chunk");
    Pending& pending = exchange.pending[device];
    pending.queued = is_pending(device);
    const Bytes frame = encode(exchange, device, x);
    pending.answered = false;
    pending.sent = clock_.now();
    const wire::Sent sent = router_->send(to.peer, frame);
    if (sent == wire::Sent::gone) drop(device, "connection lost");
    if (sent != wire::Sent::ok)
      return fail(Code::unavailable, "agent " + name_of(device) + " cannot be reached: " +
                                         (sent == wire::Sent::full ? "it does not read" : "gone"));
    pending.bytes_sent = frame.size();
    costs.bytes_sent += frame.size();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stats_.agents[device].bytes_sent += frame.size();
    }
    ++costs.messages;
  }
  if (!send_order_.empty()) ++costs.round_trips;
  costs.serialise += clock_.now() - started;
  return {};
}

Bytes Fleet::encode(Exchange& exchange, Index device, Matrix<const float> x) {
  const Parcel& parcel = exchange.parcels.of_device[device];
  const std::size_t rows = parcel.rows.size();
  if (!gather_rows(x, parcel.rows, encoder_.begin_rows(rows, x.cols, options_.wire)))
    // Rare: an activation beyond 65504.  Every agent reads f32.
    gather_rows(x, parcel.rows, encoder_.begin_rows(rows, x.cols, DType::f32));
  const std::uint64_t id = exchange.pending[device].id = next_id_++;
  return encoder_.finish_dispatch(id, static_cast<std::uint16_t>(exchange.layer), options_.wire,
                                  parcel.assignments);
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

/// The exchange that `result` answers; a refusal without an id is taken for the oldest's.
Fleet::Exchange* Fleet::asked_by(Index device, const wire::ExpertResult& result) {
  for (std::size_t i = 0; i < count_; ++i) {
    Exchange& exchange = under_way(i);
    if (!exchange.waits_for(device)) continue;
    if (result.id == exchange.pending[device].id) return &exchange;
    if (result.id == 0 && result.status != wire::Status::ok) return &exchange;
  }
  return nullptr;
}

void Fleet::take_answer(Index device, const wire::ExpertResult& result) {
  Exchange* const exchange = asked_by(device, result);
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
  if (result.rows.rows != exchange->parcels.of_device[device].rows.size() ||
      result.rows.cols != model_.hidden)
    return blame(device, "answered with rows of another shape");
  Pending& pending = exchange->pending[device];
  watch_connection(device, &result);
  pending.answered = true;
  pending.awaited = looked_;
  pending.received = clock_.now();
  pending.bytes_received = incoming_.frame.bytes().size();
  pending.result = result;
  std::swap(pending.frame, incoming_.frame);  // the views move along with their memory
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

void Fleet::count_answer(const Exchange& exchange, Index device) {
  const Pending& pending = exchange.pending[device];
  const Parcel& parcel = exchange.parcels.of_device[device];
  const std::lock_guard<std::mutex> lock(mutex_);
  AgentSnapshot& agent = stats_.agents[device];
  ++agent.dispatches;
  agent.rows += parcel.rows.size();
  agent.assignments += parcel.assignments.size();
  agent.queue += microseconds(pending.result.timings.queue_us);
  agent.compute += microseconds(pending.result.timings.compute_us);
  agent.total += microseconds(pending.result.timings.total_us);
  agent.round_trip += pending.received - pending.sent;
  agent.health = pending.result.telemetry.health;
}

/// Adds answers in the order of the devices, whatever the order of their arrival, so that the sum
/// is the same each time.
void Fleet::combine_ready(Exchange& exchange) {
  while (!error_ && !exchange.complete()) {
    const Index device = exchange.parcels.active[exchange.combined];
    if (!exchange.pending[device].answered) return;
    if (!add_answer(exchange, device))
      return blame(device, "answered with values that are not finite");
    pulses_[device].bad_answers = 0;
    count_answer(exchange, device);
    learn(exchange, device);
    ++exchange.combined;
  }
}

bool Fleet::add_answer(const Exchange& exchange, Index device) {
  const Tensor& rows = exchange.pending[device].result.rows;
  if (scratch_.size() < rows.rows * rows.cols) scratch_.resize(rows.rows * rows.cols);
  const Matrix<float> answer(scratch_.data(), rows.rows, rows.cols);
  kernels::from_wire(rows, answer);
  bool finite = true;
  const auto& to = exchange.parcels.of_device[device].rows;
  for (std::size_t i = 0; i < rows.rows; ++i)
    finite = add_finite(answer.row(i), rows.cols, exchange.y.row(to[i])) && finite;
  return finite;
}

/// Counts once per fault: whatever this device still sends for what is under way is late.
void Fleet::fail_exchange(Index device, Code code, const std::string& why) {
  if (!error_) error_ = Error{code, "agent " + name_of(device) + " " + why};
  for (Exchange& exchange : exchanges_)
    if (device < exchange.pending.size()) exchange.pending[device].id = 0;
  const std::lock_guard<std::mutex> lock(mutex_);
  ++stats_.agents[device].failures;
}

}  // namespace wdmoe::bsd
