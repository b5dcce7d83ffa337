// Fleet::begin's second half: the rows of a layer into messages, and those out in the right order.

#include <algorithm>

#include "bsd/fleet/fleet.h"
#include "kernels/ops.h"

namespace wdmoe::bsd {
namespace {

/// Rows `rows` of x into the outgoing frame; false if a finite value does not fit f16.
bool gather_rows(Matrix<const float> x, Span<const std::uint32_t> rows, MutableTensor out) {
  bool fits = true;
  for (std::size_t i = 0; i < rows.size(); ++i)
    fits = kernels::to_wire(x.slice_rows(rows[i], 1), {out.row(i), out.dtype, 1, out.cols}) && fits;
  return fits;
}

}  // namespace

/// Without the actuator "order": every parcel whole, the one with the most rows first, all at once.
void Fleet::plan_sending(Exchange& exchange) {
  exchange.ordered = ordered_.load(std::memory_order_relaxed);
  const std::size_t row_bytes = model_.hidden * bytes_of(options_.wire);
  tails_.assign(roster_.devices().size(), Tail{});
  windows_.assign(roster_.devices().size(), 0);
  std::size_t most_rows = std::max<std::size_t>(1, exchange.y.rows);  // nobody has more
  if (exchange.ordered) {
    most_rows = most_piece_rows(row_bytes);
    const std::lock_guard<std::mutex> lock(estimates_mutex_);
    for (const Index device : exchange.parcels.active) {
      const radio::LinkState link = estimates_.of(device).state();
      tails_[device] = tail_of(link, row_bytes);
      windows_[device] = window_bytes(link, most_rows, row_bytes);
    }
  }
  cut_parcels(exchange.parcels, most_rows, exchange.pieces);
  order_pieces(exchange.pieces, tails_, exchange.unsent);
  if (exchange.messages.size() < exchange.pieces.size())
    exchange.messages.resize(exchange.pieces.size());
}

Result<void> Fleet::send_all(Exchange& exchange, Matrix<const float> x, StepCosts& costs) {
  const Instant started = exchange.began = clock_.now();
  plan_sending(exchange);
  std::size_t kept = 0;
  for (const std::uint32_t index : exchange.unsent) {
    const Piece& piece = exchange.pieces[index];
    const Device& to = roster_.devices()[piece.device];
    if (!to.up()) return fail(Code::unavailable, "agent " + to.hello.name + " is down");
    if (piece.rows > to.hello.max_rows)
      return fail(Code::limit, "agent " + to.hello.name + " takes at most " +
                                   std::to_string(to.hello.max_rows) + " rows a message, not " +
                                   std::to_string(piece.rows) + ": lower prefill_chunk");
    PieceMessage& message = exchange.messages[index];
    message.queued = is_pending(piece.device);
    const bool now = may_send(exchange, piece.device);
    const Bytes frame = encode(exchange, index, x);
    if (now) {
      WDMOE_TRY(send_piece(exchange, index, frame, costs));
    } else {
      message.frame.assign(frame.data(), frame.size());  // until there is room
      exchange.unsent[kept++] = index;
    }
  }
  exchange.unsent.resize(kept);
  if (!exchange.pieces.empty()) ++costs.round_trips;
  costs.serialise += clock_.now() - started;
  return {};
}

/// Whether one more message to `device` keeps within its window and behind those that wait.
bool Fleet::may_send(const Exchange& exchange, Index device) const {
  if (!exchange.ordered) return true;
  std::size_t messages = 0;
  double bytes = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Exchange& other = exchanges_[(oldest_ + i) % exchanges_.size()];
    for (std::size_t index = 0; index < other.pieces.size(); ++index) {
      const PieceMessage& message = other.messages[index];
      if (other.pieces[index].device != device || !message.under_way()) continue;
      if (!message.sent) {
        if (&other != &exchange) return false;
        continue;
      }
      ++messages;
      bytes += static_cast<double>(message.bytes_sent);
    }
    if (&other == &exchange) break;
  }
  return messages == 0 || (messages < kMostPieces && bytes < windows_[device]);
}

/// What waited for room, oldest exchange first.
Result<void> Fleet::send_waiting(StepCosts& costs) {
  for (std::size_t i = 0; i < count_; ++i) {
    Exchange& exchange = under_way(i);
    std::size_t kept = 0;
    for (const std::uint32_t index : exchange.unsent) {
      if (may_send(exchange, exchange.pieces[index].device))
        WDMOE_TRY(send_piece(exchange, index, exchange.messages[index].frame.bytes(), costs));
      else
        exchange.unsent[kept++] = index;
    }
    exchange.unsent.resize(kept);
  }
  return {};
}

Result<void> Fleet::send_piece(Exchange& exchange, std::size_t index, Bytes frame,
                               StepCosts& costs) {
  const Index device = exchange.pieces[index].device;
  PieceMessage& message = exchange.messages[index];
  message.sent_at = clock_.now();
  const wire::Sent sent = router_->send(roster_.devices()[device].peer, frame);
  if (sent == wire::Sent::gone) drop(device, "connection lost");
  if (sent != wire::Sent::ok)
    return fail(Code::unavailable, "agent " + name_of(device) + " cannot be reached: " +
                                       (sent == wire::Sent::full ? "it does not read" : "gone"));
  message.sent = true;
  message.bytes_sent = frame.size();
  costs.bytes_sent += frame.size();
  ++costs.messages;
  const std::lock_guard<std::mutex> lock(mutex_);
  stats_.agents[device].bytes_sent += frame.size();
  return {};
}

Bytes Fleet::encode(Exchange& exchange, std::size_t index, Matrix<const float> x) {
  const Piece& piece = exchange.pieces[index];
  const Parcel& parcel = exchange.parcels.of_device[piece.device];
  const auto rows = Span<const std::uint32_t>(parcel.rows).subspan(piece.first, piece.rows);
  if (!gather_rows(x, rows, encoder_.begin_rows(rows.size(), x.cols, options_.wire)))
    // Rare: an activation beyond 65504.  Every agent reads f32.
    gather_rows(x, rows, encoder_.begin_rows(rows.size(), x.cols, DType::f32));
  const auto of_row = [](const fb::Assignment& a, std::uint32_t row) { return a.row() < row; };
  const auto begin =
      std::lower_bound(parcel.assignments.begin(), parcel.assignments.end(), piece.first, of_row);
  const auto end =
      std::lower_bound(begin, parcel.assignments.end(), piece.first + piece.rows, of_row);
  assignments_.clear();
  for (auto it = begin; it != end; ++it)
    assignments_.emplace_back(it->row() - piece.first, it->expert(), std::uint16_t{0},
                              it->weight());
  PieceMessage& message = exchange.messages[index];
  message.sent = message.answered = false;
  message.assignments = assignments_.size();
  message.id = next_id_++;
  return encoder_.finish_dispatch(message.id, static_cast<std::uint16_t>(exchange.layer),
                                  options_.wire, assignments_);
}

}  // namespace wdmoe::bsd
